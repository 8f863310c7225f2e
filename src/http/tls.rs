//! TLS of our own, for a server without a proxy before it: a certificate and its key, read again when they change.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// How often the files are looked at; SIGHUP does it at once.
const PERIOD: Duration = Duration::from_secs(60);

/// A certificate that may be renewed while it is served. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Certificate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The chain, the server's own first, in PEM.
    chain: PathBuf,
    /// Its private key, in PEM.
    key: PathBuf,
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    certified: Arc<CertifiedKey>,
    /// When the files were written.
    written: Option<(SystemTime, SystemTime)>,
}

impl Certificate {
    /// Reads both files; what is wrong with them.
    pub fn read(chain: &Path, key: &Path) -> Result<Certificate, String> {
        let current = Current::read(chain, key)?;
        Ok(Certificate(Arc::new(Inner {
            chain: chain.to_owned(),
            key: key.to_owned(),
            current: RwLock::new(current),
        })))
    }

    /// TLS 1.2 and 1.3 with this certificate.
    pub fn config(&self) -> Result<ServerConfig, String> {
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        Ok(builder
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone())))
    }

    /// Reads the files again when they were written since; a pair that does not fit is left aside, and said.
    pub fn renew(&self) {
        let inner = &self.0;
        let is_known = inner.current.read().is_ok_and(|current| {
            current.written.is_some() && current.written == written(&inner.chain, &inner.key)
        });
        if is_known {
            return;
        }
        match Current::read(&inner.chain, &inner.key) {
            Ok(renewed) => {
                if let Ok(mut current) = inner.current.write() {
                    *current = renewed;
                    tracing::info!("the certificate was read again");
                }
            }
            Err(why) => tracing::error!("the former certificate is kept: {why}"),
        }
    }

    /// Looks after the files until the server ends.
    pub async fn watch(self) {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut told) = signal(SignalKind::hangup()) else {
            return;
        };
        loop {
            tokio::select! {
                _ = told.recv() => {}
                () = tokio::time::sleep(PERIOD) => {}
            }
            let certificate = self.clone();
            let _ = tokio::task::spawn_blocking(move || certificate.renew()).await;
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.current.read().ok()?;
        Some(Arc::clone(&current.certified))
    }
}

impl Current {
    fn read(chain: &Path, key: &Path) -> Result<Current, String> {
        // Before the files: what is written in between is read the next time.
        let written = written(chain, key);
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(chain)
            .and_then(Iterator::collect)
            .map_err(|error| format!("the certificate {}: {error}", chain.display()))?;
        if certificates.is_empty() {
            return Err(format!("{} holds no certificate in PEM", chain.display()));
        }
        let private = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| format!("the private key {}: {error}", key.display()))?;
        let certified =
            CertifiedKey::from_der(certificates, private, &aws_lc_rs::default_provider()).map_err(
                |error| {
                    format!(
                        "the certificate {} with the key {}: {error}",
                        chain.display(),
                        key.display()
                    )
                },
            )?;
        Ok(Current {
            certified: Arc::new(certified),
            written,
        })
    }
}

fn written(chain: &Path, key: &Path) -> Option<(SystemTime, SystemTime)> {
    let at = |path: &Path| fs::metadata(path).and_then(|it| it.modified()).ok();
    Some((at(chain)?, at(key)?))
}
