"""The commands of a client: cacerts, csrattrs, enroll, reenroll, provision, doctor."""
