"""Identity over HTTP: tokens and their keys, signing in, accounts, the audit log."""
