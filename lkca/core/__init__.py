"""How lkca touches the disk and the machine: files, locks, hashes, GPUs, versions."""
