//! Made by `npm run build` in `ui/`: do not edit.

use crate::asset::{Asset, Representation};

/// The embedded files.
pub(crate) static ASSETS: &[Asset] = &[
    Asset {
        path: "/assets/dashboard-CZsg4D9r.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"VXrkwNXpT6kWS8RxKh__WT-br\"",
                body: include_bytes!("../ui/dist/assets/dashboard-CZsg4D9r.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"VXrkwNXpT6kWS8RxKh__WT-gzip\"",
                body: include_bytes!("../ui/dist/assets/dashboard-CZsg4D9r.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"VXrkwNXpT6kWS8RxKh__WT\"",
                body: include_bytes!("../ui/dist/assets/dashboard-CZsg4D9r.js"),
            },
        ],
    },
    Asset {
        path: "/assets/dashboard-DhsD7Sb5.css",
        content_type: "text/css; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"HurqJYH5q_jyV6qB86PSkl-br\"",
                body: include_bytes!("../ui/dist/assets/dashboard-DhsD7Sb5.css.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"HurqJYH5q_jyV6qB86PSkl-gzip\"",
                body: include_bytes!("../ui/dist/assets/dashboard-DhsD7Sb5.css.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"HurqJYH5q_jyV6qB86PSkl\"",
                body: include_bytes!("../ui/dist/assets/dashboard-DhsD7Sb5.css"),
            },
        ],
    },
    Asset {
        path: "/assets/sse-dvyam-dc.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: true,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"RtvvYXNGFgMQTt_UITg_yy-br\"",
                body: include_bytes!("../ui/dist/assets/sse-dvyam-dc.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"RtvvYXNGFgMQTt_UITg_yy-gzip\"",
                body: include_bytes!("../ui/dist/assets/sse-dvyam-dc.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"RtvvYXNGFgMQTt_UITg_yy\"",
                body: include_bytes!("../ui/dist/assets/sse-dvyam-dc.js"),
            },
        ],
    },
    Asset {
        path: "/favicon.svg",
        content_type: "image/svg+xml",
        is_immutable: false,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"l_mxWOhphA7n4sKkaM3X2o-br\"",
                body: include_bytes!("../ui/dist/favicon.svg.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"l_mxWOhphA7n4sKkaM3X2o-gzip\"",
                body: include_bytes!("../ui/dist/favicon.svg.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"l_mxWOhphA7n4sKkaM3X2o\"",
                body: include_bytes!("../ui/dist/favicon.svg"),
            },
        ],
    },
    Asset {
        path: "/index.html",
        content_type: "text/html; charset=utf-8",
        is_immutable: false,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"1K-AhlCujDv7-kLu-K-_xq-br\"",
                body: include_bytes!("../ui/dist/index.html.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"1K-AhlCujDv7-kLu-K-_xq-gzip\"",
                body: include_bytes!("../ui/dist/index.html.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"1K-AhlCujDv7-kLu-K-_xq\"",
                body: include_bytes!("../ui/dist/index.html"),
            },
        ],
    },
    Asset {
        path: "/tidings.js",
        content_type: "text/javascript; charset=utf-8",
        is_immutable: false,
        representations: &[
            Representation {
                encoding: Some("br"),
                etag: "\"vZ5VjYLeIKn427oEpTAQZa-br\"",
                body: include_bytes!("../ui/dist/tidings.js.br"),
            },
            Representation {
                encoding: Some("gzip"),
                etag: "\"vZ5VjYLeIKn427oEpTAQZa-gzip\"",
                body: include_bytes!("../ui/dist/tidings.js.gzip"),
            },
            Representation {
                encoding: None,
                etag: "\"vZ5VjYLeIKn427oEpTAQZa\"",
                body: include_bytes!("../ui/dist/tidings.js"),
            },
        ],
    },
];
