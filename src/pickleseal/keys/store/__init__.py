"""Where keys are kept: keyring directories, their permissions, and which one is used."""
