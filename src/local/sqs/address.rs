//! How queues are called: names, ARNs and URLs.

use super::fault::{Fault, Kind};

/// The region and account all queues of this server live in.
#[derive(Debug, Clone)]
pub struct Address {
    pub region: String,
    pub account: String,
}

impl Address {
    pub fn arn(&self, name: &str) -> String {
        format!("arn:aws:sqs:{}:{}:{name}", self.region, self.account)
    }

    /// The queue name in an ARN of this region and account.
    pub fn name_in_arn<'a>(&self, arn: &'a str) -> Option<&'a str> {
        let (prefix, name) = arn.rsplit_once(':')?;
        (prefix == format!("arn:aws:sqs:{}:{}", self.region, self.account)).then_some(name)
    }

    pub fn url(&self, base: &str, name: &str) -> String {
        format!("{}/{}/{name}", base.trim_end_matches('/'), self.account)
    }

    /// The queue name in a queue URL. The host is ignored: inside a container this server has
    /// another one than outside. A bare name is taken as well, as the AWS CLI allows.
    pub fn name_in_url<'a>(&self, url: Option<&'a str>) -> Result<&'a str, Fault> {
        let url = url.filter(|url| !url.is_empty()).ok_or_else(|| Fault::missing("QueueUrl"))?;
        let Some((rest, name)) = url.trim_end_matches('/').rsplit_once('/') else {
            return Ok(url);
        };
        let owner = rest.rsplit('/').next().unwrap_or_default();
        let foreign =
            owner.len() == 12 && owner.bytes().all(|byte| byte.is_ascii_digit()) && owner != self.account;
        if foreign { Err(Fault::no_queue(url)) } else { Ok(name) }
    }
}

/// Refuses names SQS would refuse, and FIFO queues.
pub fn check_name(name: &str) -> Result<(), Fault> {
    if name.ends_with(".fifo") {
        return Err(Kind::UnsupportedOperation.with(format!(
            "FIFO queues are not supported here: name the queue without .fifo instead of {name:?}"
        )));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > 80 || !name.bytes().all(allowed) {
        return Err(Kind::InvalidParameterValue.with(
            "a queue name can only include letters, digits, hyphens and underscores, 1 to 80 in length",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Address {
        Address { region: "eu-central-1".into(), account: "000000000000".into() }
    }

    #[test]
    fn a_queue_is_found_by_its_url_on_any_host() {
        let address = address();
        for url in [
            "http://127.0.0.1:4566/000000000000/thumbs",
            "http://host.docker.internal/queue/thumbs",
            "thumbs",
        ] {
            assert_eq!(address.name_in_url(Some(url)), Ok("thumbs"), "{url}");
        }
    }

    #[test]
    fn a_queue_of_another_account_does_not_exist() {
        let refused = address().name_in_url(Some("http://localhost/123456789012/thumbs")).unwrap_err();
        assert_eq!(refused.kind, Kind::QueueDoesNotExist);
    }

    #[test]
    fn a_missing_queue_url_is_a_missing_parameter() {
        assert_eq!(address().name_in_url(None).unwrap_err().kind, Kind::MissingParameter);
        assert_eq!(address().name_in_url(Some("")).unwrap_err().kind, Kind::MissingParameter);
    }

    #[test]
    fn an_arn_of_another_region_names_no_queue() {
        let address = address();
        assert_eq!(address.name_in_arn(&address.arn("thumbs")), Some("thumbs"));
        assert_eq!(address.name_in_arn("arn:aws:sqs:us-east-1:000000000000:thumbs"), None);
        assert_eq!(address.name_in_arn("thumbs"), None);
    }

    #[test]
    fn names_are_checked_as_sqs_does() {
        assert!(check_name("a-B_9").is_ok() && check_name(&"x".repeat(80)).is_ok());
        for name in ["", "a.b", "a b", "ä", &"x".repeat(81)] {
            assert_eq!(check_name(name).unwrap_err().kind, Kind::InvalidParameterValue, "{name}");
        }
        assert_eq!(check_name("a.fifo").unwrap_err().kind, Kind::UnsupportedOperation);
    }
}
