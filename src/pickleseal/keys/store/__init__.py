"""Where keys are kept: keyring directories, who may reach them, and which one is used."""
