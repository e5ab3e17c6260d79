"""Cross-domain recommendation with a language model's help (LLM-EDT, arXiv 2511.19931): README.md says more."""
