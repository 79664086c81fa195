"""What a server shows of itself: metrics, logs, traces, channelz."""
