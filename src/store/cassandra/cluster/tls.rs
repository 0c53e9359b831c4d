//! Configures TLS from PEM files: the authorities that we trust, and our own certificate.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::store::cassandra::cluster::config::Tls;

/// What is wrong, and the next step.
type Wrong = (String, &'static str);

/// Returns the TLS configuration of all connections.
///
/// # Errors
/// Returns an error if a file cannot be read or does not contain what is expected, or if only one of certificate and
/// key is set.
pub fn context(files: &Tls) -> Result<Arc<ClientConfig>, Wrong> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&files.ca)? {
        roots.add(certificate).map_err(|error| wrong(&files.ca, &error))?;
    }
    let roots = Arc::new(roots);
    let builder = if files.check_host {
        ClientConfig::builder().with_root_certificates(roots)
    } else {
        let inner = WebPkiServerVerifier::builder(roots).build().map_err(|error| wrong(&files.ca, &error))?;
        ClientConfig::builder().dangerous().with_custom_certificate_verifier(Arc::new(AnyName(inner)))
    };
    let config = match (&files.certificate, &files.key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| wrong(certificate, &error))?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(("tls has only one of certificate and key".to_owned(), "set both of them, or none")),
    };
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    let read = CertificateDer::pem_file_iter(file).map_err(|error| wrong(file, &error))?;
    let all: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| wrong(file, &error))?;
    if all.is_empty() {
        return Err((format!("{}: holds no certificate", file.display()), "name a PEM file"));
    }
    Ok(all)
}

fn wrong(file: &Path, error: &dyn std::fmt::Display) -> Wrong {
    (
        format!("{}: {error}", file.display()),
        "name a PEM file that this user can read, in store.cassandra.tls",
    )
}

/// Accepts every certificate that the authorities have signed, whatever address it is for (`check_host: false`).
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
