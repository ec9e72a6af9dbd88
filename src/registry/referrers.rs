//! The referrers of a manifest: from the referrers API or, in a registry without it, from the index
//! under the tag of the subject's digest, which is also written (the tag schema of the specification).

use carafe_layers::digest::Digest;
use carafe_layers::oci::Document;
use carafe_layers::oci::{Descriptor, Index, media_type};
use carafe_layers::referrers::{self, Referrer};
use reqwest::header::{ACCEPT, LINK};
use reqwest::{Response, StatusCode, Url};

use super::error::{Access, RegistryError, RequestContext};
use super::executor::Executor;
use super::http::{Client, header};
use super::manifest;
use super::reference::Repository;

/// Maximum number of pages of one list.
const MAX_PAGES: usize = 100;
/// Maximum number of referrers of one manifest.
const MAX_REFERRERS: usize = 10_000;

/// One page of a list, and the query of the request for the next one.
pub(crate) struct Page {
    referrers: Vec<Descriptor>,
    next: Option<String>,
}

/// The referrers of `subject` in `repository`.
pub(crate) fn list(
    executor: &Executor,
    repository: &Repository,
    subject: &Digest,
) -> Result<Vec<Descriptor>, RegistryError> {
    let action = format!("list the referrers of {subject} in {repository}");
    let context = RequestContext::new(&action, repository, &Access::Pull);
    let (mut found, mut query) = (Vec::new(), String::new());
    for _ in 0..MAX_PAGES {
        let request = || executor.block_on(get_page(&executor.client, &context, subject, &query));
        let Some(page) = executor.with_retries(&context, request)? else {
            return read_tag(executor, &context, subject);
        };
        found.extend(page.referrers);
        if found.len() > MAX_REFERRERS {
            return Err(context.protocol(format!("its list has more than {MAX_REFERRERS} referrers")));
        }
        match page.next {
            Some(next) => query = next,
            None => return Ok(found),
        }
    }
    Err(context.protocol(format!("its list of referrers has more than {MAX_PAGES} pages")))
}

/// Adds a manifest that the registry has stored to the index under the tag of its subject.
pub(crate) fn add_to_tag(
    executor: &Executor,
    repository: &Repository,
    access: &Access,
    referrer: Referrer,
) -> Result<(), RegistryError> {
    let tag = referrers::tag(&referrer.subject);
    let action = format!("add {} to the referrers tag `{tag}` of {repository}", referrer.descriptor.digest);
    let context = RequestContext::new(&action, repository, access);
    let mut all = read_tag(executor, &context, &referrer.subject)?;
    if all.iter().any(|other| other.digest == referrer.descriptor.digest) {
        return Ok(());
    }
    all.push(referrer.descriptor);
    let Document { descriptor, bytes } = referrers::list(all);
    let put = || executor.block_on(manifest::put(&executor.client, &context, &tag, &descriptor, &bytes));
    executor.with_retries(&context, put).map(drop)
}

/// The index under the tag of `subject`.
fn read_tag(
    executor: &Executor,
    context: &RequestContext<'_>,
    subject: &Digest,
) -> Result<Vec<Descriptor>, RegistryError> {
    let tag = referrers::tag(subject);
    let get = || executor.block_on(manifest::get(&executor.client, context, &tag));
    match executor.with_retries(context, get) {
        Ok((_, bytes)) => parse(context, &bytes),
        Err(RegistryError::NotFound { .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// One page of the referrers API; `None` if the registry does not have it.
pub(crate) async fn get_page(
    client: &Client,
    context: &RequestContext<'_>,
    subject: &Digest,
    query: &str,
) -> Result<Option<Page>, RegistryError> {
    let request = |http: &reqwest::Client, url: &str| {
        http.get(format!("{url}/referrers/{subject}{query}")).header(ACCEPT, media_type::INDEX)
    };
    let response = client.send(context, request).await?;
    match response.status() {
        StatusCode::OK => {
            let next = next_query(&response);
            let bytes = manifest::read_document(context, response).await?;
            Ok(Some(Page { referrers: parse(context, &bytes)?, next }))
        }
        // 405: the registry has this path for another method.
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(None),
        _ => Err(client.rejection(context, response).await),
    }
}

fn parse(context: &RequestContext<'_>, bytes: &[u8]) -> Result<Vec<Descriptor>, RegistryError> {
    let index: Result<Index, _> = serde_json::from_slice(bytes);
    index
        .map(|index| index.manifests)
        .map_err(|error| context.protocol(format!("its list of referrers is not an index: {error}")))
}

/// The query of the next page, from `Link: </v2/…?n=10&last=…>; rel="next"`. Only the query is used,
/// so that the response cannot lead to another host.
fn next_query(response: &Response) -> Option<String> {
    let link = header(response, &LINK)?.split(',').find(|link| link.contains("rel=\"next\""))?;
    let target = link.trim().strip_prefix('<')?.split_once('>')?.0;
    let url = response.url().join(target).ok()?;
    Url::query(&url).map(|query| format!("?{query}"))
}
