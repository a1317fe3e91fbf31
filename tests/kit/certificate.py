"""A certificate of images.example.org that signs itself, and its key: for a server on this machine alone.

Made with ``openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj
/CN=images.example.org -addext subjectAltName=DNS:images.example.org``.
"""

CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBsDCCAVagAwIBAgIUIYYu4P2OQ2pFRFMSVoihoeLBm/gwCgYIKoZIzj0EAwIw
HTEbMBkGA1UEAwwSaW1hZ2VzLmV4YW1wbGUub3JnMCAXDTI2MTEyOTAxMDA1MloY
DzIxMjYxMTA1MDEwMDUyWjAdMRswGQYDVQQDDBJpbWFnZXMuZXhhbXBsZS5vcmcw
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATMXC+mYwBvM6eA60m6GZobrHBhfKiG
AnO8XZo+cfU79jhxb9HrgXgcfR6PY4XKdZb7xahnYMggpjKeodVozEFPo3IwcDAd
BgNVHQ4EFgQUikndtz/Z7DBGdpa1k7PyfaC/SkwwHwYDVR0jBBgwFoAUikndtz/Z
7DBGdpa1k7PyfaC/SkwwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHREEFjAUghJpbWFn
ZXMuZXhhbXBsZS5vcmcwCgYIKoZIzj0EAwIDSAAwRQIgU5UspmImKE8nEmKSkiYc
JuzpxWb4zLU6UHr6bvfA6pkCIQCxXmxhhTbrEKLCE18Wg0tuFfBcIY/XI2K9U1qu
q48EYQ==
-----END CERTIFICATE-----
"""
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgY7nludD0DCJcO6Hy
dXu4lY384VlDbndhd1kf+TVsfDahRANCAATMXC+mYwBvM6eA60m6GZobrHBhfKiG
AnO8XZo+cfU79jhxb9HrgXgcfR6PY4XKdZb7xahnYMggpjKeodVozEFP
-----END PRIVATE KEY-----
"""
