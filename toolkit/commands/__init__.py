"""The commands: options in, one library call, its result printed."""
