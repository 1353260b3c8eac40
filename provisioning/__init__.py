"""Provisioning: tenants, the registry of their devices, and the certificates these devices live by.

Owns the tables tenant, device and certificate, the development certificate authority and its revocation list. Takes no
events. Gives DeviceRegistered, DeviceStatusChanged, CertificateIssued and CertificateRevoked.
"""
