//! What is told of each route.

use serde_json::{Map, Value, json};

use super::schemas::{self, CIRROS, answer, answer_with, brief_image, error, image};
use crate::http::assets::{Asset, HEADERS};
use crate::query::PARAMETERS;

/// The parts of the documentation, in its order.
pub const TAGS: [(&str, &str); 4] = [
    ("images", "The images, and who they are shared with."),
    ("versions", "Which versions there are."),
    ("operation", "What watches over the server."),
    ("pages", "The pages for people, and this description."),
];

/// A route, as it is described.
#[derive(Default)]
pub struct Operation {
    pub tag: &'static str,
    /// What generated clients name it by.
    pub id: String,
    pub summary: &'static str,
    pub description: &'static str,
    pub needs_caller: bool,
    /// Its parameters in the path, and all others.
    pub path: Vec<Value>,
    pub query: Vec<Value>,
    /// The answers to GET by status.
    pub answers: Map<String, Value>,
    /// Those to HEAD, where they are not the same without a body.
    pub head: Option<Map<String, Value>>,
    pub head_description: &'static str,
}

/// Answers that stand before any route.
pub fn library_answers() -> Map<String, Value> {
    let malformed = json!({ "$ref": "#/components/responses/Malformed" });
    let too_large = json!({ "$ref": "#/components/responses/HeadTooLarge" });
    Map::from_iter([("400".to_owned(), malformed), ("431".to_owned(), too_large)])
}

fn answers(own: impl IntoIterator<Item = (u16, Value)>) -> Map<String, Value> {
    let mut answers = library_answers();
    answers.insert("414".to_owned(), error("UriTooLong"));
    answers.extend(own.into_iter().map(|(status, answer)| (status.to_string(), answer)));
    answers
}

/// What every route answers that asks for a caller and then the database.
fn caller_answers(own: impl IntoIterator<Item = (u16, Value)>) -> Map<String, Value> {
    let common = [
        (401, error("Unauthorized")),
        (403, error("Forbidden")),
        (404, error("NotFound")),
        (500, error("Internal")),
        (503, error("Unavailable")),
    ];
    let (name, no_store) = schemas::no_store_header();
    let own = own.into_iter().map(|(status, mut answer)| {
        if answer["headers"].is_object() {
            answer["headers"][&name] = no_store.clone();
        }
        (status, answer)
    });
    answers(common.into_iter().chain(own))
}

fn json_of(schema: &str, examples: Value) -> Value {
    let mut content = json!({ "schema": { "$ref": format!("#/components/schemas/{schema}") } });
    content["examples"] = examples;
    json!({ "application/json": content })
}

fn list(
    id: &'static str,
    summary: &'static str,
    description: &'static str,
    schema: &str,
    path: &str,
    image: &Value,
) -> Operation {
    let query = "?disk_format=qcow2&size_max=20000000";
    let found = json_of(
        schema,
        json!({
            "found": { "summary": format!("GET {path}{query}"), "value": { "images": [image] } },
            "none": { "summary": format!("GET {path}?name=nothing"), "value": { "images": [] } },
        }),
    );
    let link = json!({
        "description": "The next page (RFC 8288), where there is one. openstacksdk, told by its User-Agent, gets none.",
        "schema": { "type": "string" },
        "example": format!("<{path}?disk_format=qcow2&limit=1&marker=68a7b6c5-d4e3-42f1-80a9-b8c7d6e5f403>; rel=\"next\""),
    });
    let parameter = |name: &str| json!({ "$ref": format!("#/components/parameters/{name}") });
    Operation {
        tag: "images",
        id: id.to_owned(),
        summary,
        description,
        needs_caller: true,
        query: PARAMETERS.iter().map(|known| parameter(known.name)).collect(),
        answers: caller_answers([
            (200, answer_with("The images of a page, in order.", found, json!({ "Link": link }))),
            (400, error("BadRequest")),
        ]),
        ..Operation::default()
    }
}

pub fn detail() -> Operation {
    list(
        "listImagesInDetail",
        "Lists images with all their fields",
        "All filters must hold. Without `limit` a page holds as many images as the server is set to give; when more \
         match, the answer has a `Link` to the next page.",
        "Images",
        "/v1.1/images/detail",
        &image(),
    )
}

pub fn brief() -> Operation {
    list(
        "listImages",
        "Lists images with six of their fields",
        "The same images as the list in detail, by the same parameters.",
        "BriefImages",
        "/v1.1/images",
        &brief_image(),
    )
}

fn id_parameter(example: &str) -> Value {
    json!({
        "name": "id",
        "in": "path",
        "required": true,
        "description": "The id of an image, a UUID in lower case with dashes. What is none is not found.",
        "schema": { "type": "string" },
        "example": example,
    })
}

pub fn one() -> Operation {
    let found = json!({
        "description": "The image, as headers. A null has none, flags are True and False.",
        "headers": schemas::with_common_headers(schemas::image_headers()),
    });
    let mut not_found = schemas::response("NotFound");
    let content = &mut not_found["content"]["application/json"]["examples"];
    content["kept"] = schemas::example(&format!("GET /v1.1/images/{CIRROS}"), &crate::http::images::no_data(CIRROS));
    // The image may not be there at all.
    let headers = schemas::with_common_headers(schemas::optional(schemas::image_headers()));
    not_found["headers"] = headers;
    Operation {
        tag: "images",
        id: "image".to_owned(),
        summary: "No image data",
        description: "No image data is kept, so that this is always a 404; of an image that you may see it has the \
             headers of HEAD.",
        head_description: "The image as headers `X-Image-Meta-*`. Each property is a header \
             `X-Image-Meta-Property-NAME`, whose name is percent-encoded where it is no token of HTTP or has a \
             percent sign. A property whose value has control characters is left out.",
        needs_caller: true,
        path: vec![id_parameter(CIRROS)],
        answers: caller_answers([(404, not_found)]),
        head: Some(
            caller_answers([(200, found)])
                .into_iter()
                .map(|(status, answer)| (status, super::headers_of(&answer)))
                .collect(),
        ),
        ..Operation::default()
    }
}

pub fn members() -> Operation {
    let id = "91f7e6d5-c4b3-42a1-80f9-e8d7c6b5a493";
    let content = json_of(
        "Members",
        json!({
            "shared": {
                "summary": format!("GET /v1.1/images/{id}/members"),
                "value": { "members": [{ "member_id": "b0b1b2b3b4b54b6b8b7b8b9babbbcbdb", "can_share": false }] },
            },
        }),
    );
    Operation {
        tag: "images",
        id: "members".to_owned(),
        summary: "The projects that an image is shared with",
        description: "Who is not the image's owner is told of its own membership only.",
        needs_caller: true,
        path: vec![id_parameter(id)],
        answers: caller_answers([(200, answer("The members.", content))]),
        ..Operation::default()
    }
}

pub fn shared() -> Operation {
    let project = "b0b1b2b3b4b54b6b8b7b8b9babbbcbdb";
    let content = json_of(
        "SharedImages",
        json!({
            "shared": {
                "summary": format!("GET /v1.1/shared-images/{project}"),
                "value": {
                    "shared_images": [{ "image_id": "91f7e6d5-c4b3-42a1-80f9-e8d7c6b5a493", "can_share": false }],
                },
            },
            "none": { "summary": "GET /v1.1/shared-images/nobody", "value": { "shared_images": [] } },
        }),
    );
    Operation {
        tag: "images",
        id: "sharedImages".to_owned(),
        summary: "The images that are shared with a project",
        description: "As far as you own them or are that project.",
        needs_caller: true,
        path: vec![json!({
            "name": "project",
            "in": "path",
            "required": true,
            "description": "The id of a project. With one that nobody knows, nothing is shared.",
            "schema": { "type": "string" },
            "example": project,
        })],
        answers: caller_answers([(200, answer("The images.", content))]),
        ..Operation::default()
    }
}

fn versions_content(name: &str) -> Value {
    json!({ "application/json": { "schema": { "$ref": format!("#/components/schemas/{name}") } } })
}

pub fn choices() -> Operation {
    let choices = answer("The versions; choose one.", versions_content("Versions"));
    Operation {
        tag: "versions",
        id: "choices".to_owned(),
        summary: "The versions to choose from",
        answers: answers([(300, choices)]),
        ..Operation::default()
    }
}

pub fn versions() -> Operation {
    let versions = answer("The versions.", versions_content("Versions"));
    Operation {
        tag: "versions",
        id: "versions".to_owned(),
        summary: "The versions that are served",
        answers: answers([(200, versions)]),
        ..Operation::default()
    }
}

pub fn versions_below() -> Operation {
    let tail = json!({
        "name": "tail",
        "in": "path",
        "required": true,
        "description": "Anything, slashes and nothing included: it is not looked at.",
        "schema": { "type": "string" },
        "example": "anything",
    });
    Operation { id: "versionsBelow".to_owned(), path: vec![tail], ..versions() }
}

pub fn version() -> Operation {
    let version = answer("The version.", versions_content("VersionDocument"));
    Operation {
        tag: "versions",
        id: "version".to_owned(),
        summary: "A version that is served",
        answers: answers([(200, version), (404, error("NotFound"))]),
        ..Operation::default()
    }
}

pub fn version_with_slash() -> Operation {
    Operation { id: "versionWithSlash".to_owned(), ..version() }
}

fn text(media_type: &str, example: Value) -> Value {
    let mut content = json!({ media_type: { "schema": { "type": "string" } } });
    if !example.is_null() {
        content[media_type]["example"] = example;
    }
    content
}

pub fn healthcheck() -> Operation {
    Operation {
        tag: "operation",
        id: "healthcheck".to_owned(),
        summary: "Whether the process lives",
        answers: answers([(200, answer("It does.", text("text/plain", json!("OK"))))]),
        ..Operation::default()
    }
}

pub fn ready() -> Operation {
    Operation {
        tag: "operation",
        id: "ready".to_owned(),
        summary: "Whether the database answers, and its tables can be read",
        answers: answers([
            (200, answer("It does.", text("text/plain", json!("OK")))),
            (500, error("Internal")),
            (503, error("Unavailable")),
        ]),
        ..Operation::default()
    }
}

pub fn metrics() -> Operation {
    Operation {
        tag: "operation",
        id: "metrics".to_owned(),
        summary: "The numbers of the server, in Prometheus's text form",
        answers: answers([(200, answer("The numbers.", text("text/plain", Value::Null)))]),
        ..Operation::default()
    }
}

pub fn document() -> Operation {
    let content = json!({ "application/json": { "schema": { "type": "object", "required": ["openapi", "paths"] } } });
    Operation {
        tag: "pages",
        id: "openapi".to_owned(),
        summary: "This description of the API, for programs",
        answers: answers([(200, answer("An OpenAPI document.", content))]),
        ..Operation::default()
    }
}

/// `console/query.js` as a name of a function, `consoleQueryJs`.
fn id_of(path: &str) -> String {
    let mut words = path.split(['/', '.']).filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_ascii_uppercase() + &word[1..])
}

pub fn asset(asset: &Asset) -> Operation {
    let media_type = asset.media_type.split(';').next().unwrap_or(asset.media_type);
    let mut headers: Map<String, Value> = HEADERS
        .iter()
        .map(|(name, value)| {
            (
                schemas::camel_case(name.as_str()),
                json!({ "schema": { "type": "string", "const": value }, "required": true }),
            )
        })
        .collect();
    headers.insert("ETag".to_owned(), json!({ "schema": { "type": "string" }, "required": true }));
    let headers = Value::Object(headers);
    let not_modified = answer_with("It has not changed.", Value::Null, headers.clone());
    Operation {
        tag: "pages",
        id: id_of(asset.path),
        summary: asset.summary,
        query: vec![json!({
            "name": "If-None-Match",
            "in": "header",
            "description": "The ETag that is known: then it is sent only if it has changed.",
            "schema": { "type": "string" },
        })],
        answers: answers([
            (200, answer_with("The part of the page.", text(media_type, Value::Null), headers)),
            (304, not_modified),
        ]),
        ..Operation::default()
    }
}

pub fn without_slash(path: &'static str) -> Operation {
    let location = json!({ "description": "The page, as a relative reference.", "schema": { "type": "string" }, "required": true });
    let moved = answer_with("The page is at the path without the slash.", Value::Null, json!({ "Location": location }));
    Operation {
        tag: "pages",
        id: format!("{}WithSlash", id_of(path)),
        summary: "Leads to the page",
        answers: answers([(308, moved)]),
        ..Operation::default()
    }
}
