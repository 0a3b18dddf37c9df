//! Pictures of an earlier run: what is stored survives a restart, and so does the gallery.

use super::Studio;
use crate::ops::history::Rendition;
use aws_sdk_s3::types::Object;

/// So many are looked for, the newest of the first thousand keys.
const MOST: usize = 60;

impl Studio {
    /// Shows finished pictures that are in the buckets. What cannot be read is left out: this is a courtesy.
    pub async fn recall(&self) {
        let list = self.clients.read.list_objects_v2().bucket(&self.input).send().await;
        let mut objects = list.ok().and_then(|list| list.contents).unwrap_or_default();
        objects.sort_by_key(|object| object.last_modified().map(|at| at.as_nanos()));
        let from = objects.len().saturating_sub(MOST);
        for object in &objects[from..] {
            if let Some((key, outputs)) = self.outputs_of(object).await {
                let bytes = object.size().and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
                let etag = object.e_tag().unwrap_or_default().trim_matches('"');
                self.history.pictures(|p| p.recalled(&self.input, key, bytes, etag, outputs));
            }
        }
    }

    /// None unless every rendition is there.
    async fn outputs_of<'a>(&self, object: &'a Object) -> Option<(&'a str, Vec<Rendition>)> {
        let key = object.key()?;
        let mut outputs = Vec::new();
        for spec in &self.recipes.current().settings.specs {
            let head =
                self.clients.read.head_object().bucket(&self.output).key(format!("{}/{key}", spec.name));
            let bytes = head.send().await.ok()?.content_length().and_then(|n| u64::try_from(n).ok())?;
            outputs.push(Rendition { name: spec.name.clone(), bytes, width: 0, height: 0 });
        }
        Some((key, outputs))
    }
}
