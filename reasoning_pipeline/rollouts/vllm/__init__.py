"""What runs inside vLLM: the plugin and what it loads. Nothing else may import this."""
