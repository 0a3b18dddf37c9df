//! One page of a listing: which names, which of them rolled up to a common prefix, and where to go on.

use s3s::{S3Result, s3_error};

use super::notify::form_encode;

/// The largest page S3 gives, and the one it gives unasked.
const MAX_ITEMS: usize = 1000;

#[derive(Debug, Clone)]
pub struct Query {
    pub prefix: String,
    /// Empty: none.
    pub delimiter: String,
    /// Names up to this one, and this one, are left out.
    pub after: String,
    pub max_items: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Item<T> {
    Name(T),
    CommonPrefix(String),
}

#[derive(Debug)]
pub struct Page<T> {
    pub items: Vec<Item<T>>,
    /// The last name or common prefix here, if more follow.
    pub next: Option<String>,
}

impl Query {
    pub fn new(
        prefix: Option<&str>,
        delimiter: Option<&str>,
        after: Option<&str>,
        max: Option<i32>,
    ) -> S3Result<Query> {
        let owned = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Ok(Query {
            prefix: owned(prefix),
            delimiter: owned(delimiter),
            after: owned(after),
            max_items: max_items(max)?,
        })
    }

    /// The first name worth looking at.
    pub fn start(&self) -> &str {
        self.after.as_str().max(&self.prefix)
    }

    /// Pages through `names`, which are in order and begin at `start` or before. `see` says whether there
    /// is anything to show for a name.
    pub fn page<'a, V, T>(
        &self,
        names: impl Iterator<Item = (&'a str, V)>,
        mut see: impl FnMut(&'a str, V) -> Option<T>,
    ) -> Page<T> {
        let mut page = Page { items: Vec::new(), next: None };
        let mut last = String::new();
        for (name, value) in names {
            if !name.starts_with(&self.prefix) {
                if name > self.prefix.as_str() {
                    break;
                }
                continue;
            }
            let common = self.common_prefix(name);
            // A page may end with a common prefix; the next one skips all that is under it.
            let shown = common.unwrap_or(name);
            if (!self.after.is_empty() && name <= self.after.as_str()) || common == Some(&self.after) {
                continue;
            }
            if common.is_some() && last == shown {
                continue;
            }
            let Some(seen) = see(name, value) else { continue };
            if page.items.len() == self.max_items {
                page.next = (self.max_items > 0).then_some(last);
                return page;
            }
            last = shown.to_owned();
            page.items.push(if common.is_some() {
                Item::CommonPrefix(last.clone())
            } else {
                Item::Name(seen)
            });
        }
        page
    }

    fn common_prefix<'n>(&self, name: &'n str) -> Option<&'n str> {
        if self.delimiter.is_empty() {
            return None;
        }
        let rest = &name[self.prefix.len()..];
        let at = rest.find(&self.delimiter)?;
        Some(&name[..self.prefix.len() + at + self.delimiter.len()])
    }
}

pub fn max_items(asked: Option<i32>) -> S3Result<usize> {
    match asked.map(usize::try_from) {
        None => Ok(MAX_ITEMS),
        Some(Ok(max)) => Ok(max.min(MAX_ITEMS)),
        Some(Err(_)) => Err(s3_error!(InvalidArgument, "the number of items must not be negative")),
    }
}

/// Names in a listing, encoded if the client asks for it: XML cannot carry all that a key may hold.
#[derive(Debug, Clone, Copy)]
pub enum Spelling {
    Plain,
    FormEncoded,
}

impl Spelling {
    pub fn asked(encoding: Option<&s3s::dto::EncodingType>) -> S3Result<Spelling> {
        match encoding.map(s3s::dto::EncodingType::as_str) {
            None => Ok(Spelling::Plain),
            Some(s3s::dto::EncodingType::URL) => Ok(Spelling::FormEncoded),
            Some(other) => {
                Err(s3_error!(InvalidArgument, "invalid encoding method {other:?}: only url is known"))
            }
        }
    }

    pub fn spell(self, name: &str) -> String {
        match self {
            Spelling::Plain => name.to_owned(),
            Spelling::FormEncoded => form_encode(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(query: &mut Query, names: &[&str]) -> Vec<Vec<String>> {
        let mut pages = Vec::new();
        loop {
            let page = query.page(names.iter().map(|name| (*name, ())), |name, ()| Some(name.to_owned()));
            let items = page.items.into_iter().map(|item| match item {
                Item::Name(name) => name,
                Item::CommonPrefix(prefix) => format!("{prefix}*"),
            });
            pages.push(items.collect());
            match page.next {
                Some(next) => query.after = next,
                None => return pages,
            }
        }
    }

    const NAMES: [&str; 7] = ["a", "b/1", "b/2", "b/c/3", "d/4", "e", "é/5"];

    #[test]
    fn common_prefixes_count_once_over_pages() {
        let mut query = Query::new(None, Some("/"), None, Some(2)).unwrap();
        let expected = [vec!["a", "b/*"], vec!["d/*", "e"], vec!["é/*"]];
        assert_eq!(pages(&mut query, &NAMES), expected);
    }

    #[test]
    fn a_prefix_limits_and_a_delimiter_counts_after_it() {
        let mut query = Query::new(Some("b/"), Some("/"), None, None).unwrap();
        assert_eq!(pages(&mut query, &NAMES), [vec!["b/1", "b/2", "b/c/*"]]);
    }

    #[test]
    fn a_start_inside_a_common_prefix_still_shows_it() {
        let mut query = Query::new(None, Some("/"), Some("b/1"), None).unwrap();
        assert_eq!(pages(&mut query, &NAMES), [vec!["b/*", "d/*", "e", "é/*"]]);
    }

    #[test]
    fn a_page_that_ends_with_the_last_name_has_no_next() {
        let mut query = Query::new(None, None, None, Some(7)).unwrap();
        assert_eq!(pages(&mut query, &NAMES).len(), 1);
        let mut none = Query::new(None, None, None, Some(0)).unwrap();
        assert_eq!(pages(&mut none, &NAMES), [Vec::<String>::new()]);
        assert!(Query::new(None, None, None, Some(-1)).is_err());
    }
}
