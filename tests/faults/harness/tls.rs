//! TLS in front of a proxy, with a certificate that can be good or not.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

type Authority = CertifiedIssuer<'static, KeyPair>;

/// Ends TLS at a port of its own.
pub struct Tls {
    /// `https://localhost:PORT`
    pub endpoint: String,
    authority: Authority,
    folder: TempDir,
    shown: watch::Sender<Arc<ServerConfig>>,
    accepted: Arc<AtomicUsize>,
    _connections: JoinSet<()>,
}

impl Tls {
    /// In front of this address, with a certificate that ended years ago.
    pub async fn expired_in_front_of(behind: SocketAddr) -> Self {
        let authority = authority();
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let (shown, now) = watch::channel(certificate(&authority, 2020));
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((outside, _)) = listener.accept() => {
                        count.fetch_add(1, Ordering::SeqCst);
                        let acceptor = TlsAcceptor::from(Arc::clone(&now.borrow()));
                        open.spawn(async move {
                            // A client that does not trust it leaves here.
                            let Ok(mut outside) = acceptor.accept(outside).await else { return };
                            let mut inside = TcpStream::connect(behind).await.unwrap();
                            let _ = copy_bidirectional(&mut outside, &mut inside).await;
                        });
                    }
                    Some(_) = open.join_next() => {}
                }
            }
        });
        Self { endpoint, authority, folder, shown, accepted, _connections: connections }
    }

    /// The certificates that a client has to trust, as a file of PEM blocks.
    pub fn authorities(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// How often somebody has connected, trusting it or not.
    pub fn connections(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// From the next connection on.
    pub fn renew(&self) {
        self.shown.send_replace(certificate(&self.authority, 2100));
    }
}

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn certificate(authority: &Authority, until: i32) -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2010, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    let leaf = params.signed_by(&key, authority).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    Arc::new(config)
}
