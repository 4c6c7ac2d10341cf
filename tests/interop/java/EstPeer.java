import java.io.FileReader;
import java.io.FileWriter;
import java.net.Socket;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Security;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.security.spec.ECGenParameterSpec;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import javax.net.ssl.KeyManagerFactory;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.pkcs.PrivateKeyInfo;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.cert.jcajce.JcaX509CertificateHolder;
import org.bouncycastle.est.CACertsResponse;
import org.bouncycastle.est.CSRRequestResponse;
import org.bouncycastle.est.ESTAuth;
import org.bouncycastle.est.ESTService;
import org.bouncycastle.est.EnrollmentResponse;
import org.bouncycastle.est.jcajce.ChannelBindingProvider;
import org.bouncycastle.est.jcajce.JcaHttpAuthBuilder;
import org.bouncycastle.est.jcajce.JcaJceUtils;
import org.bouncycastle.est.jcajce.JsseESTServiceBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.jsse.BCSSLSocket;
import org.bouncycastle.jsse.provider.BouncyCastleJsseProvider;
import org.bouncycastle.openssl.PEMParser;
import org.bouncycastle.openssl.jcajce.JcaPEMKeyConverter;
import org.bouncycastle.openssl.jcajce.JcaPEMWriter;
import org.bouncycastle.openssl.jcajce.JcaPKCS8Generator;
import org.bouncycastle.operator.ContentSigner;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.pkcs.PKCS10CertificationRequestBuilder;
import org.bouncycastle.pkcs.jcajce.JcaPKCS10CertificationRequestBuilder;

/**
 * One operation of Bouncy Castle's own EST client, from the command line.
 *
 * <p>Usage: EstPeer OPERATION NAME=VALUE... with OPERATION cacerts, csrattrs, enroll or reenroll.
 * Names: host, port, trust (PEM), provider (SunJSSE or BCJSSE), tls (TLSv1.2, TLSv1.3), user,
 * password, pop (link the request to the channel by tls-unique, which needs BCJSSE and TLSv1.2;
 * wrong: by a value of no channel), subject, cert and key (PEM, shown in the handshake), out (PEM
 * of what was received), keyout (PEM of a new key; without it reenroll keeps the old one). Exit
 * code 0, or 1 with the exception on stderr.
 */
public final class EstPeer {
    private final Map<String, String> options;

    private EstPeer(Map<String, String> options) {
        this.options = options;
    }

    public static void main(String[] args) {
        Security.addProvider(new BouncyCastleProvider());
        Security.addProvider(new BouncyCastleJsseProvider());
        Map<String, String> options = new HashMap<>();
        for (int at = 1; at < args.length; at++) {
            String[] pair = args[at].split("=", 2);
            options.put(pair[0], pair[1]);
        }
        try {
            new EstPeer(options).run(args[0]);
        } catch (Exception problem) {
            problem.printStackTrace();
            System.exit(1);
        }
    }

    private void run(String operation) throws Exception {
        ESTService service = service();
        switch (operation) {
            case "cacerts":
                cacerts(service);
                break;
            case "csrattrs":
                csrattrs(service);
                break;
            case "enroll":
                enroll(service, false);
                break;
            case "reenroll":
                enroll(service, true);
                break;
            default:
                throw new IllegalArgumentException(operation);
        }
    }

    private ESTService service() throws Exception {
        String server = options.get("host") + ":" + options.get("port");
        JsseESTServiceBuilder builder =
                new JsseESTServiceBuilder(
                        server, JcaJceUtils.getCertPathTrustManager(trustAnchors(), null));
        builder.withProvider(options.get("provider"));
        builder.withTLSVersion(options.get("tls"));
        builder.withTimeout(20_000);
        if (options.containsKey("cert")) {
            builder.withKeyManagers(identity().getKeyManagers());
        }
        if (options.containsKey("pop")) {
            builder.withChannelBindingProvider(new TlsUnique(options.get("pop")));
        }
        return builder.build();
    }

    private void cacerts(ESTService service) throws Exception {
        CACertsResponse answer = service.getCACerts();
        System.out.println("trusted " + answer.isTrusted());
        X509CertificateHolder[] found = ESTService.storeToArray(answer.getCertificateStore());
        write("out", (Object[]) found);
    }

    private void csrattrs(ESTService service) throws Exception {
        CSRRequestResponse answer = service.getCSRAttributes();
        if (!answer.hasAttributesResponse()) {
            System.out.println("none");
            return;
        }
        for (Object type : answer.getAttributesResponse().getRequirements()) {
            System.out.println(((ASN1ObjectIdentifier) type).getId());
        }
    }

    private void enroll(ESTService service, boolean again) throws Exception {
        KeyPair pair = again && !options.containsKey("keyout") ? currentPair() : newPair();
        PKCS10CertificationRequestBuilder request =
                new JcaPKCS10CertificationRequestBuilder(subject(again), pair.getPublic());
        ContentSigner signer =
                new JcaContentSignerBuilder("SHA256withECDSA").build(pair.getPrivate());
        EnrollmentResponse answer =
                options.containsKey("pop")
                        ? service.simpleEnrollPoP(again, request, signer, auth())
                        : service.simpleEnroll(again, request.build(signer), auth());
        if (!answer.isCompleted()) {
            throw new IllegalStateException("no certificate yet");
        }
        write("out", (Object[]) ESTService.storeToArray(answer.getStore()));
        if (options.containsKey("keyout")) {
            write("keyout", new JcaPKCS8Generator(pair.getPrivate(), null));
        }
    }

    private X500Name subject(boolean again) throws Exception {
        return again
                ? new JcaX509CertificateHolder(currentCertificate()).getSubject()
                : new X500Name(options.get("subject"));
    }

    private ESTAuth auth() throws Exception {
        if (!options.containsKey("user")) {
            return null;
        }
        return new JcaHttpAuthBuilder(options.get("user"), options.get("password").toCharArray())
                .setProvider("BC")
                .build();
    }

    private static KeyPair newPair() throws Exception {
        KeyPairGenerator generator = KeyPairGenerator.getInstance("EC", "BC");
        generator.initialize(new ECGenParameterSpec("P-256"));
        return generator.generateKeyPair();
    }

    private Set<TrustAnchor> trustAnchors() throws Exception {
        Set<TrustAnchor> anchors = new HashSet<>();
        for (Object found : read("trust")) {
            anchors.add(new TrustAnchor(certificate(found), null));
        }
        return anchors;
    }

    private X509Certificate currentCertificate() throws Exception {
        return certificate(read("cert").get(0));
    }

    private KeyPair currentPair() throws Exception {
        PrivateKey key =
                new JcaPEMKeyConverter()
                        .setProvider("BC")
                        .getPrivateKey((PrivateKeyInfo) read("key").get(0));
        return new KeyPair(currentCertificate().getPublicKey(), key);
    }

    private KeyManagerFactory identity() throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        store.setKeyEntry(
                "device",
                currentPair().getPrivate(),
                new char[0],
                new X509Certificate[] {currentCertificate()});
        KeyManagerFactory factory =
                KeyManagerFactory.getInstance("PKIX", options.get("provider"));
        factory.init(store, new char[0]);
        return factory;
    }

    private static X509Certificate certificate(Object holder) throws Exception {
        return new JcaX509CertificateConverter()
                .setProvider("BC")
                .getCertificate((X509CertificateHolder) holder);
    }

    private List<Object> read(String name) throws Exception {
        List<Object> found = new ArrayList<>();
        try (PEMParser parser = new PEMParser(new FileReader(options.get(name)))) {
            for (Object item = parser.readObject(); item != null; item = parser.readObject()) {
                found.add(item);
            }
        }
        return found;
    }

    private void write(String name, Object... items) throws Exception {
        try (JcaPEMWriter writer = new JcaPEMWriter(new FileWriter(options.get(name)))) {
            for (Object item : items) {
                writer.writeObject(item);
            }
        }
    }

    /** The channel binding of RFC 5929 that only Bouncy Castle's own TLS can tell. */
    private static final class TlsUnique implements ChannelBindingProvider {
        private final boolean wrong;

        TlsUnique(String kind) {
            wrong = kind.equals("wrong");
        }

        @Override
        public boolean canAccessChannelBinding(Socket socket) {
            return socket instanceof BCSSLSocket;
        }

        @Override
        public byte[] getChannelBinding(Socket socket, String kind) {
            byte[] found = ((BCSSLSocket) socket).getConnection().getChannelBinding(kind);
            System.out.println(kind + " " + found.length);
            if (wrong) {
                found[0] ^= 1;
            }
            return found;
        }
    }
}
