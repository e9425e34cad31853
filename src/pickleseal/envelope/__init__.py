"""The envelope: byte layout, hashes, metadata, seal, reading and writing."""
