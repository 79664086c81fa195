"""The model's forward pass over a ragged batch, behind one interface: ``runner.Runner``."""
