"""The version of the API's contract: it grows with what is added, and its first part with what would break a caller."""

VERSION = "1.0.0"
