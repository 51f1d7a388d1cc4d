//! Made by `npm run build` in `ui/`: do not edit.

use crate::asset::Asset;

/// What is embedded.
pub(crate) static ASSETS: &[Asset] = &[
    Asset {
        path: "/assets/dashboard.css",
        content_type: "text/css; charset=utf-8",
        etag: "\"HurqJYH5q_jyV6qB86PSkl\"",
        body: include_bytes!("../ui/dist/assets/dashboard.css"),
    },
    Asset {
        path: "/assets/dashboard.js",
        content_type: "text/javascript; charset=utf-8",
        etag: "\"SR9Oy1xscExKpx-5DsslDj\"",
        body: include_bytes!("../ui/dist/assets/dashboard.js"),
    },
    Asset {
        path: "/favicon.svg",
        content_type: "image/svg+xml",
        etag: "\"l_mxWOhphA7n4sKkaM3X2o\"",
        body: include_bytes!("../ui/dist/favicon.svg"),
    },
    Asset {
        path: "/index.html",
        content_type: "text/html; charset=utf-8",
        etag: "\"RIJh3tFg4ji-nPcQ9SCb_i\"",
        body: include_bytes!("../ui/dist/index.html"),
    },
    Asset {
        path: "/tidings.js",
        content_type: "text/javascript; charset=utf-8",
        etag: "\"5YLKiTcV7uRyDhIInd0gVh\"",
        body: include_bytes!("../ui/dist/tidings.js"),
    },
];
