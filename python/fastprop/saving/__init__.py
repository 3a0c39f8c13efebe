"""Files: models and trainings in the safetensors format, written whole or not at all.

Reading a file never runs code from it: it holds numbers, and names that are looked up in a table.
"""
