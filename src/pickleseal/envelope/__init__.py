"""The envelope: its bytes, its hashes, its metadata, its seal, and how it is read and written."""
