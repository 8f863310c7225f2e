//! The explorer at `/`: the aged balance at first sight and GraphiQL beside it, from files inside the
//! binary. It holds no data and asks for no right: the page calls the API with its reader's token.

use std::sync::LazyLock;

use actix_web::http::header::{CacheControl, CacheDirective, ETag, EntityTag, Header, IfNoneMatch};
use actix_web::{HttpRequest, HttpResponse, web};
use sha2::{Digest, Sha256};

/// Everything from this server alone; the styles that GraphiQL writes into its elements are inline.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; \
    worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const JSON: &str = "application/json; charset=utf-8";

/// The example queries, in the order of their tabs.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "aged-balance",
        include_str!("../../../examples/queries/aged-balance.graphql"),
    ),
    (
        "client-account",
        include_str!("../../../examples/queries/client-account.graphql"),
    ),
    (
        "invoices",
        include_str!("../../../examples/queries/invoices.graphql"),
    ),
    (
        "disputes",
        include_str!("../../../examples/queries/disputes.graphql"),
    ),
    (
        "provision",
        include_str!("../../../examples/queries/provision.graphql"),
    ),
    (
        "bank",
        include_str!("../../../examples/queries/bank.graphql"),
    ),
    (
        "dunning",
        include_str!("../../../examples/queries/dunning.graphql"),
    ),
    (
        "collection",
        include_str!("../../../examples/queries/collection.graphql"),
    ),
    (
        "viewer",
        include_str!("../../../examples/queries/viewer.graphql"),
    ),
];

static INDEX: LazyLock<Asset> =
    LazyLock::new(|| Asset::ours("index.html", HTML, include_str!("assets/index.html")));

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    vec![
        Asset::ours("app.css", CSS, include_str!("assets/app.css")),
        Asset::ours("app.js", SCRIPT, include_str!("assets/app.js")),
        Asset::ours("account.js", SCRIPT, include_str!("assets/account.js")),
        Asset::ours("balance.js", SCRIPT, include_str!("assets/balance.js")),
        Asset::ours("dom.js", SCRIPT, include_str!("assets/dom.js")),
        Asset::ours("examples.js", SCRIPT, include_str!("assets/examples.js")),
        Asset::ours("explorer.js", SCRIPT, include_str!("assets/explorer.js")),
        Asset::ours("format.js", SCRIPT, include_str!("assets/format.js")),
        Asset::ours("session.js", SCRIPT, include_str!("assets/session.js")),
        Asset::ours("examples.json", JSON, examples()),
        Asset::theirs(
            "graphiql.min.css",
            CSS,
            include_bytes!("assets/graphiql.min.css"),
        ),
        Asset::theirs(
            "graphiql.min.js",
            SCRIPT,
            include_bytes!("assets/graphiql.min.js"),
        ),
        Asset::theirs(
            "react.production.min.js",
            SCRIPT,
            include_bytes!("assets/react.production.min.js"),
        ),
        Asset::theirs(
            "react-dom.production.min.js",
            SCRIPT,
            include_bytes!("assets/react-dom.production.min.js"),
        ),
    ]
});

/// Routes `/` and `/assets/{file}`. A host that turns the explorer off does not call it.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        web::resource("/")
            .route(web::get().to(index))
            .route(web::head().to(index)),
    )
    .service(
        web::resource("/assets/{file}")
            .route(web::get().to(asset))
            .route(web::head().to(asset)),
    );
}

async fn index(request: HttpRequest) -> HttpResponse {
    INDEX.answer(&request)
}

async fn asset(request: HttpRequest, file: web::Path<String>) -> HttpResponse {
    match ASSETS.iter().find(|asset| asset.name == file.as_str()) {
        Some(asset) => asset.answer(&request),
        None => HttpResponse::NotFound().finish(),
    }
}

/// A file inside the binary.
struct Asset {
    name: &'static str,
    content_type: &'static str,
    bytes: web::Bytes,
    tag: EntityTag,
    cache: CacheControl,
}

impl Asset {
    /// A file of ours: asked for again each time, so that an upgrade never mixes two versions.
    fn ours(name: &'static str, content_type: &'static str, bytes: impl Into<web::Bytes>) -> Self {
        Self::new(
            name,
            content_type,
            bytes.into(),
            vec![CacheDirective::NoCache],
        )
    }

    /// A large file that others publish: kept for an hour before it is asked for again.
    fn theirs(name: &'static str, content_type: &'static str, bytes: &'static [u8]) -> Self {
        let hour = vec![CacheDirective::Public, CacheDirective::MaxAge(3600)];
        Self::new(name, content_type, web::Bytes::from_static(bytes), hour)
    }

    fn new(
        name: &'static str,
        content_type: &'static str,
        bytes: web::Bytes,
        cache: Vec<CacheDirective>,
    ) -> Self {
        // Weak: the body may go out compressed or not.
        let tag = EntityTag::new_weak(format!("{:x}", Sha256::digest(&bytes))[..32].to_owned());
        Self {
            name,
            content_type,
            bytes,
            tag,
            cache: CacheControl(cache),
        }
    }

    fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let known = self.known_to(request);
        let mut response = if known {
            HttpResponse::NotModified()
        } else {
            HttpResponse::Ok()
        };
        response
            .insert_header(ETag(self.tag.clone()))
            .insert_header(self.cache.clone())
            .insert_header(("content-security-policy", POLICY))
            .insert_header(("x-content-type-options", "nosniff"))
            .insert_header(("referrer-policy", "no-referrer"))
            .insert_header(("x-frame-options", "DENY"));
        if known {
            return response.finish();
        }
        response
            .content_type(self.content_type)
            .body(self.bytes.clone())
    }

    fn known_to(&self, request: &HttpRequest) -> bool {
        match IfNoneMatch::parse(request) {
            Ok(IfNoneMatch::Any) => true,
            Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|tag| tag.weak_eq(&self.tag)),
            Err(_) => false,
        }
    }
}

fn examples() -> Vec<u8> {
    let list: Vec<_> = EXAMPLES
        .iter()
        .map(|(name, query)| serde_json::json!({ "name": name, "query": query }))
        .collect();
    serde_json::Value::Array(list).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use actix_web::App;
    use actix_web::http::StatusCode;
    use actix_web::test::{TestRequest, call_service, init_service};

    use super::*;

    #[actix_web::test]
    async fn the_page_may_load_from_this_server_only() {
        let app = init_service(App::new().configure(configure)).await;
        let answer = call_service(&app, TestRequest::get().uri("/").to_request()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let expected = [
            ("content-security-policy", POLICY),
            ("x-frame-options", "DENY"),
            ("cache-control", "no-cache"),
        ];
        for (name, value) in expected {
            assert_eq!(
                answer
                    .headers()
                    .get(name)
                    .and_then(|found| found.to_str().ok()),
                Some(value),
                "{name}"
            );
        }
    }

    #[actix_web::test]
    async fn a_known_asset_is_not_sent_again() {
        let app = init_service(App::new().configure(configure)).await;
        let first = call_service(&app, TestRequest::get().uri("/assets/app.js").to_request()).await;
        let tag = first
            .headers()
            .get("etag")
            .expect("an asset has a tag")
            .clone();
        let again = TestRequest::get()
            .uri("/assets/app.js")
            .insert_header(("if-none-match", tag));
        assert_eq!(
            call_service(&app, again.to_request()).await.status(),
            StatusCode::NOT_MODIFIED
        );
        let unknown = TestRequest::get().uri("/assets/mod.rs").to_request();
        assert_eq!(
            call_service(&app, unknown).await.status(),
            StatusCode::NOT_FOUND
        );
    }

    #[test]
    fn every_file_that_the_page_names_is_served() {
        for asset in ASSETS
            .iter()
            .chain([&*INDEX])
            .filter(|asset| !asset.name.contains(".min."))
        {
            let text = std::str::from_utf8(&asset.bytes).expect("our files are UTF-8");
            for start in ["'./", "\"/assets/", "'/assets/"] {
                for (_, rest) in text
                    .match_indices(start)
                    .map(|(at, _)| text[at..].split_at(start.len()))
                {
                    let name = rest.split(['"', '\'']).next().unwrap_or_default();
                    assert!(
                        ASSETS.iter().any(|served| served.name == name),
                        "{} names {name}",
                        asset.name
                    );
                }
            }
        }
    }

    #[test]
    fn every_example_carries_its_variables() {
        for (name, query) in EXAMPLES.iter().filter(|(name, _)| *name != "viewer") {
            let line = query
                .lines()
                .find_map(|line| line.strip_prefix("# Variables: "));
            let variables = line.map(serde_json::from_str::<serde_json::Value>);
            assert!(matches!(variables, Some(Ok(_))), "{name}");
        }
    }
}
