/** Node makes keys but no certificates: a self-signed one for localhost, for these tests only. */
export function tlsCertificate(): string {
  return `-----BEGIN CERTIFICATE-----
MIIBlTCCATugAwIBAgIUF0kkb7QrGDP0DP0GiSxP8tLQOOAwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTA3MjIzMloYDzIxMjYxMDI4
MDcyMjMyWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASzr04zKhA6tMN7fhRjPghdPzxrvXUfBxncTus5M86dBi6vSA8nokEQ
nkSEkBg8joROWQB6N/0IVGsIFgevEQuvo2kwZzAdBgNVHQ4EFgQUx6wIqrD5UmJ8
uA7HvQOenOdk8iowHwYDVR0jBBgwFoAUx6wIqrD5UmJ8uA7HvQOenOdk8iowDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
SAAwRQIgTaj7OaVY6OtfArm63JzQMCVlUaf9sbyxQM/Ie99vNrwCIQD2mCnx3+LP
L2y5cfjBAqqPRVeR8bwK40g3n3eu9+xVdw==
-----END CERTIFICATE-----`;
}

export function tlsKey(): string {
  return `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAa+vO0riCAtmtE+R
ppy7RmixdJnowBb2O3Z7iZPNob6hRANCAASzr04zKhA6tMN7fhRjPghdPzxrvXUf
BxncTus5M86dBi6vSA8nokEQnkSEkBg8joROWQB6N/0IVGsIFgevEQuv
-----END PRIVATE KEY-----`;
}
