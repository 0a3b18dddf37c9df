//! The rules every batch obeys, and how its entries report one by one.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::fault::{Fault, Kind};

/// Refuses a batch as a whole: too few, too many or ambiguous entries.
pub fn check<'a>(ids: impl ExactSizeIterator<Item = Option<&'a str>>) -> Result<(), Fault> {
    match ids.len() {
        0 => return Err(Kind::EmptyBatchRequest.with("there must be at least one entry in the batch")),
        1..=10 => {}
        many => {
            return Err(Kind::TooManyEntriesInBatchRequest
                .with(format!("a batch has at most 10 entries, this one has {many}")));
        }
    }
    let mut seen = BTreeSet::new();
    for id in ids {
        let id = id.ok_or_else(|| Fault::missing("Id"))?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if id.is_empty() || id.len() > 80 || !id.bytes().all(allowed) {
            return Err(Kind::InvalidBatchEntryId
                .with("a batch entry id can only contain letters, digits, hyphens and underscores, 1 to 80 in length"));
        }
        if !seen.insert(id) {
            return Err(
                Kind::BatchEntryIdsNotDistinct.with(format!("id {id} is repeated: give each entry its own"))
            );
        }
    }
    Ok(())
}

/// What became of each entry.
#[derive(Debug, Default)]
pub struct Outcome {
    successful: Vec<Json>,
    failed: Vec<Json>,
}

impl Outcome {
    pub fn succeeded(&mut self, entry: Json) {
        self.successful.push(entry);
    }

    pub fn failed(&mut self, id: &str, fault: &Fault) {
        self.failed.push(json!({
            "Id": id,
            "Code": fault.kind.code(),
            "Message": fault.message,
            "SenderFault": fault.kind.sender_fault(),
        }));
    }

    /// Lists without entries are left out, as SQS does.
    pub fn answer(self) -> Json {
        let lists = [("Successful", self.successful), ("Failed", self.failed)];
        let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
        Json::Object(lists.map(|(name, list)| (name.to_owned(), Json::Array(list))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(ids: &[&str]) -> Option<Kind> {
        check(ids.iter().map(|id| Some(*id))).err().map(|fault| fault.kind)
    }

    #[test]
    fn a_batch_has_one_to_ten_distinct_plain_ids() {
        let eleven: Vec<String> = (0..11).map(|id| id.to_string()).collect();
        let eleven: Vec<&str> = eleven.iter().map(String::as_str).collect();
        assert_eq!(refused(&eleven[..10]), None);
        assert_eq!(refused(&eleven), Some(Kind::TooManyEntriesInBatchRequest));
        assert_eq!(refused(&[]), Some(Kind::EmptyBatchRequest));
        assert_eq!(refused(&["a", "a"]), Some(Kind::BatchEntryIdsNotDistinct));
        for id in ["", "a.b", "a b", &"x".repeat(81)] {
            assert_eq!(refused(&[id]), Some(Kind::InvalidBatchEntryId), "{id}");
        }
    }

    #[test]
    fn empty_lists_are_left_out() {
        let mut outcome = Outcome::default();
        outcome.failed("1", &Fault::missing("ReceiptHandle"));
        let answer = outcome.answer();
        assert_eq!(answer["Failed"][0]["Code"], "MissingParameter");
        assert_eq!(answer.get("Successful"), None);
    }
}
