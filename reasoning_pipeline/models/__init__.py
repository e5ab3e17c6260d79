"""A model folder or a hub name: what it is, how it is loaded, and which two may meet."""
