//! Where the bytes of files are: a directory, or a bucket of an S3-compatible store.
//!
//! An object is named by its company and the SHA-256 of its bytes, so it is written once, never changed, and
//! proven whenever it is read. A row of the database says what it is; an object that no row names is harmless.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use sha2::{Digest, Sha256};
use ureq::Agent;
use uuid::Uuid;

use crate::domain::hex::hex;
use crate::domain::ids::CompanyId;
use crate::error::{Error, Result};

/// How long a signed request to the store is valid.
const SIGNATURE: Duration = Duration::from_secs(300);
/// Longest wait for the store.
const WAIT: Duration = Duration::from_secs(30);
/// Largest object that is read back.
const LARGEST: u64 = 64 * 1024 * 1024;

/// The store of files. Cheap to clone.
#[derive(Clone)]
pub struct Objects(Arc<Place>);

enum Place {
    Directory(PathBuf),
    Bucket(Box<Remote>),
}

struct Remote {
    bucket: Bucket,
    credentials: Credentials,
    prefix: String,
    agent: Agent,
}

/// A bucket, as set: `s3://bucket/prefix?endpoint=https://…&region=…`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BucketSettings {
    pub name: String,
    pub prefix: String,
    pub endpoint: String,
    pub region: String,
}

impl BucketSettings {
    /// Reads a setting; why it is none when it is not.
    pub fn read(text: &str) -> std::result::Result<BucketSettings, String> {
        const SHAPE: &str = "a bucket looks like s3://bucket/prefix?endpoint=https://…&region=…";
        let rest = text.strip_prefix("s3://").ok_or(SHAPE)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (name, prefix) = path.split_once('/').unwrap_or((path, ""));
        let value = |key: &str| {
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(name, _)| *name == key)
                .map(|(_, value)| value.to_owned())
        };
        let region = value("region").unwrap_or_else(|| "us-east-1".into());
        let endpoint =
            value("endpoint").unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        if name.is_empty() || !endpoint.starts_with("http") {
            return Err(SHAPE.into());
        }
        Ok(BucketSettings {
            name: name.to_owned(),
            prefix: prefix.trim_end_matches('/').to_owned(),
            endpoint,
            region,
        })
    }
}

impl Objects {
    /// Files under a directory, which is made when it is missing.
    pub fn directory(path: &Path) -> Objects {
        Objects(Arc::new(Place::Directory(path.to_owned())))
    }

    /// Files in a bucket.
    pub fn bucket(settings: &BucketSettings, key: &str, secret: &str) -> Result<Objects> {
        let endpoint = settings
            .endpoint
            .parse()
            .map_err(|error| Error::Internal(format!("endpoint {}: {error}", settings.endpoint)))?;
        let bucket = Bucket::new(
            endpoint,
            UrlStyle::Path,
            settings.name.clone(),
            settings.region.clone(),
        )
        .map_err(|error| Error::Internal(format!("bucket {}: {error}", settings.name)))?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(WAIT))
            .max_redirects(0)
            .build()
            .into();
        Ok(Objects(Arc::new(Place::Bucket(Box::new(Remote {
            bucket,
            credentials: Credentials::new(key, secret),
            prefix: settings.prefix.clone(),
            agent,
        })))))
    }

    /// Keeps bytes for a company; their SHA-256 names them from then on.
    pub fn put(&self, company: CompanyId, bytes: &[u8]) -> Result<String> {
        let digest = hex(&Sha256::digest(bytes));
        match &*self.0 {
            Place::Directory(root) => {
                write(&path(root, company, &digest), bytes)
                    .map_err(|error| Error::of_file("a file was not kept", &error))?;
            }
            Place::Bucket(remote) => remote.put(&key(company, &digest), bytes)?,
        }
        Ok(digest)
    }

    /// The bytes of that digest. What was changed since is an error, never an answer.
    pub fn get(&self, company: CompanyId, digest: &str) -> Result<Vec<u8>> {
        let bytes = match &*self.0 {
            Place::Directory(root) => fs::read(path(root, company, digest))
                .map_err(|error| Error::Internal(format!("file {digest}: {error}")))?,
            Place::Bucket(remote) => remote.get(&key(company, digest))?,
        };
        if hex(&Sha256::digest(&bytes)) == digest {
            Ok(bytes)
        } else {
            Err(Error::Internal(format!(
                "file {digest} of company {} was changed in its store",
                company.0
            )))
        }
    }
}

fn key(company: CompanyId, digest: &str) -> String {
    format!("{}/{}/{digest}", company.0.simple(), &digest[..2])
}

fn path(root: &Path, company: CompanyId, digest: &str) -> PathBuf {
    root.join(key(company, digest))
}

/// Whole or not at all: written aside, made durable, renamed.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let directory = path.parent().unwrap_or(path);
    fs::create_dir_all(directory)?;
    let draft = directory.join(format!(".{}", Uuid::now_v7().simple()));
    let mut file = File::create(&draft)?;
    let kept = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&draft, path));
    if kept.is_err() {
        // The draft is of no use; the first error is what matters.
        let _ = fs::remove_file(&draft);
    }
    kept.and_then(|()| File::open(directory)?.sync_all())
}

impl Remote {
    fn key(&self, key: &str) -> String {
        if self.prefix.is_empty() {
            key.to_owned()
        } else {
            format!("{}/{key}", self.prefix)
        }
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let key = self.key(key);
        let url = self
            .bucket
            .put_object(Some(&self.credentials), &key)
            .sign(SIGNATURE);
        let answer = self
            .agent
            .put(url.as_str())
            .send(bytes)
            .map_err(|error| away(&error))?;
        answered(answer.status().as_u16(), &key)
    }

    fn get(&self, key: &str) -> Result<Vec<u8>> {
        let key = self.key(key);
        let url = self
            .bucket
            .get_object(Some(&self.credentials), &key)
            .sign(SIGNATURE);
        let mut answer = self
            .agent
            .get(url.as_str())
            .call()
            .map_err(|error| away(&error))?;
        answered(answer.status().as_u16(), &key)?;
        let mut bytes = Vec::new();
        answer
            .body_mut()
            .as_reader()
            .take(LARGEST)
            .read_to_end(&mut bytes)
            .map_err(|error| Error::Unavailable(format!("the file store broke off: {error}")))?;
        Ok(bytes)
    }
}

fn away(error: &ureq::Error) -> Error {
    Error::Unavailable(format!("the file store does not answer: {error}"))
}

fn answered(status: u16, key: &str) -> Result<()> {
    match status {
        200..=299 => Ok(()),
        500.. => Err(Error::Unavailable(format!("the file store said {status}"))),
        _ => Err(Error::Internal(format!(
            "the file store said {status} to {key}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Id;

    #[test]
    fn a_file_is_kept_once_and_a_changed_one_is_found_out() {
        let root = std::env::temp_dir().join(format!("encours-objects-{}", Uuid::now_v7()));
        let (objects, company) = (Objects::directory(&root), CompanyId::new());
        let digest = objects.put(company, b"proof").expect("kept");
        assert_eq!(objects.put(company, b"proof").expect("known"), digest);
        assert_eq!(objects.get(company, &digest).expect("read"), b"proof");
        // Another company's store does not have it.
        assert!(objects.get(CompanyId::new(), &digest).is_err());
        fs::write(path(&root, company, &digest), b"forged").expect("forged");
        assert!(objects.get(company, &digest).is_err());
        fs::remove_dir_all(&root).expect("cleaned");
    }

    /// A store that keeps what is put, by path, when the request is signed.
    fn bucket() -> String {
        use std::collections::HashMap;
        use std::io::{BufRead, BufReader};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            let mut kept: HashMap<String, Vec<u8>> = HashMap::new();
            for stream in listener.incoming().map_while(std::result::Result::ok) {
                let mut out = stream.try_clone().expect("a stream");
                let mut input = BufReader::new(stream);
                let (mut first, mut length) = (String::new(), 0);
                input.read_line(&mut first).expect("a request");
                loop {
                    let mut line = String::new();
                    input.read_line(&mut line).expect("a header");
                    let line = line.trim().to_lowercase();
                    if let Some(value) = line.strip_prefix("content-length:") {
                        length = value.trim().parse().expect("a length");
                    }
                    if line.is_empty() {
                        break;
                    }
                }
                let mut body = vec![0; length];
                input.read_exact(&mut body).expect("a body");
                let target = first.split(' ').nth(1).unwrap_or_default();
                let (path, query) = target.split_once('?').unwrap_or((target, ""));
                let (status, answer) = if !query.contains("X-Amz-Signature=") {
                    ("403 Forbidden", Vec::new())
                } else if first.starts_with("PUT") {
                    kept.insert(path.to_owned(), body);
                    ("200 OK", Vec::new())
                } else {
                    match kept.get(path) {
                        Some(bytes) => ("200 OK", bytes.clone()),
                        None => ("404 Not Found", Vec::new()),
                    }
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    answer.len()
                );
                out.write_all(&[head.as_bytes(), &answer].concat())
                    .expect("an answer");
            }
        });
        format!("http://{address}")
    }

    #[test]
    fn a_bucket_keeps_files_as_a_directory_does() {
        let settings = BucketSettings {
            name: "proofs".into(),
            prefix: "ar".into(),
            endpoint: bucket(),
            region: "fr-1".into(),
        };
        let objects = Objects::bucket(&settings, "key", "secret").expect("a bucket");
        let company = CompanyId::new();
        let digest = objects.put(company, b"proof").expect("kept");
        assert_eq!(objects.get(company, &digest).expect("read"), b"proof");
        assert!(objects.get(CompanyId::new(), &digest).is_err());
        let away = BucketSettings {
            endpoint: "http://127.0.0.1:1".into(),
            ..settings
        };
        let away = Objects::bucket(&away, "key", "secret").expect("a bucket");
        assert!(matches!(
            away.put(company, b"x"),
            Err(Error::Unavailable(_))
        ));
    }

    #[test]
    fn a_bucket_is_read_from_its_setting() {
        let read =
            BucketSettings::read("s3://proofs/ar?endpoint=http://127.0.0.1:9000&region=fr-1");
        assert_eq!(
            read,
            Ok(BucketSettings {
                name: "proofs".into(),
                prefix: "ar".into(),
                endpoint: "http://127.0.0.1:9000".into(),
                region: "fr-1".into()
            })
        );
        for bad in ["", "proofs", "s3://", "s3:///x", "s3://b?endpoint=ftp"] {
            assert!(BucketSettings::read(bad).is_err(), "{bad}");
        }
    }
}
