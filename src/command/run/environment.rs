//! What a script finds in its environment beside the values of its row: secrets, credentials, and the little
//! of the worker's own that is its business.

use super::secrets::{self, NoSecret};
use super::{Commands, Trouble};
use crate::error::{Barrier, Error, Reason};
use aws_sdk_s3::config::ProvideCredentials;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

const SECRETS_KEPT: Duration = Duration::from_secs(60);
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Commands {
    pub(super) async fn secret(&self, name: &str) -> Result<String, Trouble> {
        let kept = self.secrets.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some((_, value)) = kept.filter(|(read, _)| read.elapsed() < SECRETS_KEPT) {
            return Ok(value);
        }
        let value = secrets::resolve(&self.clients, name).await.map_err(|why| match why {
            NoSecret::Never(why) => Trouble::never(Reason::CommandSecret, why),
            NoSecret::Now(why) => Trouble::failed(Reason::CommandSecret, why),
        })?;
        let kept = (Instant::now(), value.clone());
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).put(name.to_owned(), kept);
        Ok(value)
    }

    /// The worker's own, as variables.
    pub(super) async fn credentials(&self) -> Result<BTreeMap<String, String>, Trouble> {
        let mut variables = BTreeMap::new();
        let mut set = |name: &str, value: &str| variables.insert(name.to_owned(), value.to_owned());
        if let Some(region) = self.clients.region() {
            set("AWS_REGION", region.as_ref());
            set("AWS_DEFAULT_REGION", region.as_ref());
        }
        if let Some(url) = self.clients.config.endpoint_url() {
            set("AWS_ENDPOINT_URL", url);
        }
        // In ECS they end after hours, and where they come from is better than what they are.
        let from = ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];
        let token = ["AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"];
        let known =
            |name: &&str| Some((name.to_string(), std::env::var(name).ok().filter(|v| !v.is_empty())?));
        let origin: Vec<(String, String)> = from.iter().filter_map(known).collect();
        if !origin.is_empty() {
            origin.iter().for_each(|(name, value)| drop(set(name, value)));
            token.iter().filter_map(known).for_each(|(name, value)| drop(set(&name, &value)));
            return Ok(variables);
        }
        let blocked = |why: String| Trouble::Blocked(Barrier::Credentials, Error::new(why));
        let provider = self.clients.config.credentials_provider();
        let provider = provider.ok_or_else(|| blocked("there are no credentials to hand on".into()))?;
        let credentials = provider.provide_credentials().await;
        let credentials =
            credentials.map_err(|e| blocked(format!("cannot get credentials to hand on: {e}")))?;
        set("AWS_ACCESS_KEY_ID", credentials.access_key_id());
        set("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key());
        if let Some(token) = credentials.session_token() {
            set("AWS_SESSION_TOKEN", token);
        }
        Ok(variables)
    }
}

/// What scripts find of the worker's own environment, and what is theirs alone.
pub(super) fn surroundings(folder: &Path) -> Vec<(String, String)> {
    let inherited = |name: &str| name == "LANG" || name == "TZ" || name.starts_with("LC_");
    // Not all of it need be text.
    let own = std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
    let mut found: Vec<_> = own.filter(|(name, _)| inherited(name)).collect();
    let home = folder.to_string_lossy().into_owned();
    found.push(("TMPDIR".into(), folder.join("tmp").to_string_lossy().into_owned()));
    found.push(("HOME".into(), home));
    found.push(("PATH".into(), std::env::var("PATH").unwrap_or_else(|_| PATH.into())));
    found
}
