// Java's own path validation (PKIX), which asks an OCSP responder: says what each certificate is.
// Arguments: anchor.pem http://responder/ certificate.pem...

import java.io.FileInputStream;
import java.io.InputStream;
import java.net.URI;
import java.security.cert.CertPath;
import java.security.cert.CertPathValidator;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertificateFactory;
import java.security.cert.CertificateRevokedException;
import java.security.cert.PKIXParameters;
import java.security.cert.PKIXRevocationChecker;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

public final class OcspCheck {
    public static void main(String[] arguments) throws Exception {
        TrustAnchor anchor = new TrustAnchor(certificate(arguments[0]), null);
        for (int i = 2; i < arguments.length; i++) {
            CertPathValidator validator = CertPathValidator.getInstance("PKIX");
            PKIXRevocationChecker checker =
                    (PKIXRevocationChecker) validator.getRevocationChecker();
            checker.setOcspResponder(URI.create(arguments[1]));
            checker.setOptions(EnumSet.of(PKIXRevocationChecker.Option.NO_FALLBACK));
            PKIXParameters parameters = new PKIXParameters(Set.of(anchor));
            parameters.addCertPathChecker(checker);
            System.out.println(verdict(certificate(arguments[i]), validator, parameters));
        }
    }

    private static String verdict(
            X509Certificate leaf, CertPathValidator validator, PKIXParameters parameters)
            throws Exception {
        CertPath path = CertificateFactory.getInstance("X.509").generateCertPath(List.of(leaf));
        try {
            validator.validate(path, parameters);
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
            return (X509Certificate)
                    CertificateFactory.getInstance("X.509").generateCertificate(file);
        }
    }
}
