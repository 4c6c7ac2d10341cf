"""The ASN.1 that EST carries: certificate requests, CSR attributes and bags of certificates."""
