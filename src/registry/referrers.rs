//! What refers to a manifest: asked of the registry, or, where it keeps no track, read from and
//! written to the list under a tag of the digest.

use carafe_layers::digest::Digest;
use carafe_layers::oci::Document;
use carafe_layers::oci::{Descriptor, Index, media_type};
use carafe_layers::referrers::{self, Referrer};
use reqwest::header::{ACCEPT, LINK};
use reqwest::{Response, StatusCode, Url};

use super::error::{Access, RegistryError, RequestContext};
use super::http::{Client, header};
use super::manifest::read_document;
use super::reference::Repository;
use super::shared::Shared;

/// A registry may cut its answer into so many pages.
const MAX_PAGES: usize = 100;
/// So many may refer to one manifest.
const MAX_REFERRERS: usize = 10_000;

/// One page of an answer, and the query that asks for the next.
pub(super) struct Page {
    referrers: Vec<Descriptor>,
    next: Option<String>,
}

impl Shared {
    /// What refers to `subject` in `repository`.
    pub(super) fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let action = format!("ask what refers to {subject} in {repository}");
        let attempt = RequestContext::new(&action, repository, &Access::Pull);
        let (mut found, mut query) = (Vec::new(), String::new());
        for _ in 0..MAX_PAGES {
            let ask = || self.block_on(self.client.get_referrers(&attempt, subject, &query));
            let Some(page) = self.persist(&attempt, ask)? else { return self.listed(&attempt, subject) };
            found.extend(page.referrers);
            if found.len() > MAX_REFERRERS {
                return Err(attempt.protocol(format!("it names more than {MAX_REFERRERS} referrers")));
            }
            match page.next {
                Some(next) => query = next,
                None => return Ok(found),
            }
        }
        Err(attempt.protocol(format!("its answer has more than {MAX_PAGES} pages")))
    }

    /// Adds a manifest, which the registry has by now, to the list of what refers to its subject.
    pub(super) fn list_referrer(
        &self,
        repository: &Repository,
        access: &Access,
        referrer: Referrer,
    ) -> Result<(), RegistryError> {
        let tag = referrers::tag(&referrer.subject);
        let action = format!("list {} under the tag `{tag}` of {repository}", referrer.descriptor.digest);
        let attempt = RequestContext::new(&action, repository, access);
        let mut all = self.listed(&attempt, &referrer.subject)?;
        if all.iter().any(|known| known.digest == referrer.descriptor.digest) {
            return Ok(());
        }
        all.push(referrer.descriptor);
        let Document { descriptor, bytes } = referrers::list(all);
        let put = || self.block_on(self.client.put_manifest(&attempt, &tag, &descriptor, &bytes));
        self.persist(&attempt, put).map(drop)
    }

    /// The list under the tag.
    fn listed(
        &self,
        attempt: &RequestContext<'_>,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let tag = referrers::tag(subject);
        let get = || self.block_on(self.client.get_manifest(attempt, &tag));
        match self.persist(attempt, get) {
            Ok((_, bytes)) => parse(attempt, &bytes),
            Err(RegistryError::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

impl Client {
    /// None where the registry has no such endpoint.
    pub(super) async fn get_referrers(
        &self,
        attempt: &RequestContext<'_>,
        subject: &Digest,
        query: &str,
    ) -> Result<Option<Page>, RegistryError> {
        let response = self
            .send(attempt, |http, url| {
                http.get(format!("{url}/referrers/{subject}{query}")).header(ACCEPT, media_type::INDEX)
            })
            .await?;
        match response.status() {
            StatusCode::OK => {
                let next = next_query(&response);
                let bytes = read_document(attempt, response).await?;
                Ok(Some(Page { referrers: parse(attempt, &bytes)?, next }))
            }
            // 405: a registry that knows the path of another kind of request.
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(None),
            _ => Err(self.refused(attempt, response).await),
        }
    }
}

fn parse(attempt: &RequestContext<'_>, bytes: &[u8]) -> Result<Vec<Descriptor>, RegistryError> {
    let index: Result<Index, _> = serde_json::from_slice(bytes);
    index
        .map(|index| index.manifests)
        .map_err(|error| attempt.protocol(format!("its list of referrers is no index: {error}")))
}

/// The query of the next page, from `Link: </v2/…?n=10&last=…>; rel="next"`. Only the query is
/// taken: the answer cannot lead elsewhere.
fn next_query(response: &Response) -> Option<String> {
    let link = header(response, &LINK)?.split(',').find(|link| link.contains("rel=\"next\""))?;
    let target = link.trim().strip_prefix('<')?.split_once('>')?.0;
    let url = response.url().join(target).ok()?;
    Url::query(&url).map(|query| format!("?{query}"))
}
