// Java's own path validation (PKIX), with revocation lists: says of each certificate what it is.
// Arguments: anchor.pem list.crl certificate.pem...

import java.io.FileInputStream;
import java.io.InputStream;
import java.security.cert.CRL;
import java.security.cert.CertPath;
import java.security.cert.CertPathValidator;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertStore;
import java.security.cert.CertificateFactory;
import java.security.cert.CertificateRevokedException;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.List;
import java.util.Set;

public final class CrlCheck {
    private static final CertificateFactory FACTORY = factory();

    public static void main(String[] arguments) throws Exception {
        X509Certificate anchor = certificate(arguments[0]);
        CRL list;
        try (InputStream file = new FileInputStream(arguments[1])) {
            list = FACTORY.generateCRL(file);
        }
        for (int i = 2; i < arguments.length; i++) {
            PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(anchor, null)));
            parameters.setRevocationEnabled(true);
            parameters.addCertStore(CertStore.getInstance(
                    "Collection", new CollectionCertStoreParameters(List.of(list))));
            System.out.println(verdict(certificate(arguments[i]), parameters));
        }
    }

    private static String verdict(X509Certificate leaf, PKIXParameters parameters)
            throws Exception {
        CertPath path = FACTORY.generateCertPath(List.of(leaf));
        try {
            CertPathValidator.getInstance("PKIX").validate(path, parameters);
            return "good";
        } catch (CertPathValidatorException refusal) {
            if (refusal.getCause() instanceof CertificateRevokedException revoked) {
                return "revoked " + revoked.getRevocationReason();
            }
            return "refused " + refusal.getReason();
        }
    }

    private static X509Certificate certificate(String path) throws Exception {
        try (InputStream file = new FileInputStream(path)) {
            return (X509Certificate) FACTORY.generateCertificate(file);
        }
    }

    private static CertificateFactory factory() {
        try {
            return CertificateFactory.getInstance("X.509");
        } catch (java.security.cert.CertificateException broken) {
            throw new IllegalStateException(broken);
        }
    }
}
