"""Who is who: the certificate authority, agents' certificates, people's tokens."""
