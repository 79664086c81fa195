"""KV memory: the running rows, prompts in prefill, shared prefixes, and the budget."""
