"""Code of one's own: files beside a recipe and installed modules, named in YAML as `file.py:function`.

It is trusted as the recipe itself is, and runs with the rights of whoever started the run. It is never taken from a
data file or a model's folder.
"""
