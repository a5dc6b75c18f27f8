//! Who may ask: those with the token where one is wanted, and no page of another site.
//!
//! A browser on this machine reaches the loopback address on behalf of any site that it shows. Such a
//! site can point a name of its own to 127.0.0.1 and read the answers, so only names that belong to
//! loopback are answered there; and it can post forms without reading the answer, so what changes
//! something is refused when it comes from another origin or looks like a form.

use std::{net::SocketAddr, sync::Arc};

use axum::http::{HeaderMap, Method, StatusCode, Uri, Version, header, uri::Authority};

use super::{credentials::Credentials, page, problem::Problem};

/// The rules of one server.
#[derive(Debug)]
pub(super) struct Guard {
    address: SocketAddr,
    scheme: &'static str,
    credentials: Arc<Credentials>,
}

/// Health is everybody's: kubelets and load balancers bring no token and any name.
const OPEN: [&str; 5] = ["/livez", "/readyz", "/healthz", "/-/healthy", "/-/ready"];

/// What a form of another site can be sent as without the browser asking first.
const FORMS: [&str; 3] = [
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "text/plain",
];

/// What of a request says whether it may be.
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) version: Version,
    pub(super) headers: &'a HeaderMap,
}

impl Guard {
    pub(super) fn new(address: SocketAddr, credentials: Arc<Credentials>) -> Self {
        let scheme = if credentials.is_tls() {
            "https"
        } else {
            "http"
        };
        Self {
            address,
            scheme,
            credentials,
        }
    }

    /// Whether the request may be.
    pub(super) fn admit(&self, asked: &Asked<'_>) -> Result<(), Problem> {
        let path = asked.uri.path();
        if OPEN.contains(&path) {
            return Ok(());
        }
        let host = self.host(asked)?;
        if self.address.ip().is_loopback() {
            self.check_host(host.as_ref())?;
        }
        if !page::is_page(path) {
            self.check_token(asked.headers)?;
        }
        if !asked.method.is_safe() {
            self.check_origin(asked.headers, host.as_ref())?;
        }
        Ok(())
    }

    /// The one host that the request is for.
    fn host(&self, asked: &Asked<'_>) -> Result<Option<Authority>, Problem> {
        let mut given = asked.headers.get_all(header::HOST).iter();
        let first = given.next();
        if given.next().is_some() {
            return Err(Problem::bad_request("the request has two Host headers"));
        }
        let host = match first {
            Some(value) => {
                let host = value.to_str().ok().and_then(|text| text.parse().ok());
                Some(host.ok_or_else(|| Problem::bad_request("the Host header is no host"))?)
            }
            None => None,
        };
        // Of `GET http://host/path`, as to a proxy, the host in the line counts.
        let host = asked.uri.authority().cloned().or(host);
        if host.is_none() && asked.version >= Version::HTTP_11 {
            return Err(Problem::bad_request("the request has no Host header"));
        }
        Ok(host)
    }

    fn check_host(&self, host: Option<&Authority>) -> Result<(), Problem> {
        // No browser asks without one.
        let Some(host) = host else { return Ok(()) };
        let name = host.host();
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let loopback = bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
        if loopback || name.eq_ignore_ascii_case("localhost") {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            format!(
                "this server listens on {} and answers to localhost, 127.0.0.1 and [::1], not to '{name}': \
                 to serve other names, set admin.listen to an address of this machine and admin.token_file",
                self.address
            ),
        ))
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if !self.credentials.wants_token() {
            return Ok(());
        }
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.as_bytes().split_at_checked(7))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
            .map(|(_, token)| token.trim_ascii());
        match given {
            Some(token) if self.credentials.is_token(token) => Ok(()),
            Some(_) => Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "the token is not the one of admin.token_file",
            )),
            None => Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "a token is wanted: send the header 'Authorization: Bearer TOKEN' with what stands in admin.token_file",
            )),
        }
    }

    fn check_origin(&self, headers: &HeaderMap, host: Option<&Authority>) -> Result<(), Problem> {
        let refused = |what: &str| Problem::new(StatusCode::FORBIDDEN, what);
        let text = |name| headers.get(name).map(|v| v.to_str().unwrap_or_default());
        let foreign = "a page of another site cannot change anything here";
        if let Some(site) = text("sec-fetch-site")
            && !matches!(site, "same-origin" | "none")
        {
            return Err(refused(foreign));
        }
        if let Some(origin) = text("origin") {
            let own = host.map(|host| format!("{}://{host}", self.scheme));
            if !own.is_some_and(|own| own.eq_ignore_ascii_case(origin)) {
                return Err(refused(foreign));
            }
        }
        let kind = text("content-type").and_then(|kind| kind.split(';').next());
        if let Some(kind) = kind
            && FORMS
                .iter()
                .any(|form| form.eq_ignore_ascii_case(kind.trim()))
        {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!(
                    "the content type '{}' is that of a form: send 'Content-Type: application/yaml', or none without a body",
                    kind.trim()
                ),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn asked(
        guard: &Guard,
        method: Method,
        uri: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(), u16> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let uri = uri.parse().unwrap();
        let asked = Asked {
            method: &method,
            uri: &uri,
            version: Version::HTTP_11,
            headers: &map,
        };
        guard
            .admit(&asked)
            .map_err(|problem| problem.status.as_u16())
    }

    fn guard(address: &str, token: Option<&str>) -> Guard {
        let credentials = Credentials::fixed(token);
        Guard::new(address.parse().unwrap(), Arc::new(credentials))
    }

    #[test]
    fn names_of_loopback_only() {
        let guard = guard("127.0.0.1:9797", None);
        for host in [
            "localhost",
            "LOCALHOST:9797",
            "127.0.0.1:9797",
            "127.0.0.2",
            "[::1]:80",
        ] {
            let answer = asked(&guard, Method::GET, "/metrics", &[("host", host)]);
            assert_eq!(answer, Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:9797",
            "192.168.0.1",
            "[::2]",
        ] {
            let answer = asked(&guard, Method::GET, "/", &[("host", host)]);
            assert_eq!(answer, Err(421), "{host}");
        }
        assert_eq!(asked(&guard, Method::GET, "/metrics", &[]), Err(400));
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(asked(&guard, Method::GET, "/metrics", &two), Err(400));
        let proxied = asked(
            &guard,
            Method::GET,
            "http://evil.example/metrics",
            &[("host", "localhost")],
        );
        assert_eq!(proxied, Err(421));
        let health = asked(&guard, Method::GET, "/livez", &[("host", "10.1.2.3:9797")]);
        assert_eq!(health, Ok(()));
    }

    #[test]
    fn the_token_and_nothing_like_it() {
        let guard = guard("0.0.0.0:9797", Some("right-token"));
        let with = |path: &str, authorization: Option<&str>| {
            let mut headers = vec![("host", "servo.example")];
            headers.extend(authorization.map(|value| ("authorization", value)));
            asked(&guard, Method::GET, path, &headers)
        };
        assert_eq!(with("/metrics", Some("Bearer right-token")), Ok(()));
        assert_eq!(with("/metrics", Some("bearer  right-token ")), Ok(()));
        for wrong in [
            None,
            Some(""),
            Some("Bearer"),
            Some("Bearer "),
            Some("Bearer right-toke"),
            Some("Bearer right-token2"),
            Some("Basic right-token"),
            Some("right-token"),
        ] {
            for path in [
                "/metrics",
                "/api/v1/servos",
                "/-/support",
                "/nothing",
                "/-/quit",
                "//livez",
                "/livez/",
            ] {
                assert_eq!(with(path, wrong), Err(401), "{path} {wrong:?}");
            }
        }
        for open in OPEN.iter().chain(&["/", "/page.js"]) {
            assert_eq!(with(open, None), Ok(()), "{open}");
        }
    }

    #[test]
    fn no_page_of_another_site_changes_anything() {
        let guard = guard("127.0.0.1:9797", None);
        let post = |more: &[(&'static str, &str)]| {
            let mut headers = vec![("host", "localhost:9797")];
            headers.extend(more);
            asked(&guard, Method::POST, "/-/reload", &headers)
        };
        assert_eq!(post(&[]), Ok(()));
        assert_eq!(post(&[("origin", "http://localhost:9797")]), Ok(()));
        assert_eq!(post(&[("sec-fetch-site", "same-origin")]), Ok(()));
        assert_eq!(
            post(&[("content-type", "application/yaml; charset=utf-8")]),
            Ok(())
        );
        for origin in [
            "null",
            "http://evil.example",
            "http://localhost:1",
            "https://localhost:9797",
            "",
        ] {
            assert_eq!(post(&[("origin", origin)]), Err(403), "{origin}");
        }
        for site in ["cross-site", "same-site", ""] {
            assert_eq!(post(&[("sec-fetch-site", site)]), Err(403), "{site}");
        }
        for form in [
            "text/plain",
            "Multipart/Form-Data; boundary=x",
            "application/x-www-form-urlencoded",
        ] {
            assert_eq!(post(&[("content-type", form)]), Err(415), "{form}");
        }
    }

    proptest! {
        #[test]
        fn no_header_is_too_odd(host in "\\PC{0,40}", origin in "[ -~]{0,40}", authorization in "[ -~]{0,40}") {
            let guard = guard("[::1]:1", Some("secret"));
            let mut map = HeaderMap::new();
            for (name, value) in [("host", &host), ("origin", &origin), ("authorization", &authorization)] {
                if let Ok(value) = axum::http::HeaderValue::from_bytes(value.as_bytes()) {
                    map.insert(name, value);
                }
            }
            let asked = Asked {
                method: &Method::POST,
                uri: &Uri::from_static("/-/quit"),
                version: Version::HTTP_11,
                headers: &map,
            };
            prop_assert!(guard.admit(&asked).is_err());
        }
    }
}
