"""Out to the devices: whose turn it is, what is handed to the broker, what becomes of what nobody answers."""
