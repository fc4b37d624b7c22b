//! The matrix: every combination of the documented filters, with values of every frequency, for
//! callers who see much and little, on the first, a deep and the last page; and every order.
//!
//! Its values come from the catalog itself, so that it fits any.

use std::collections::BTreeSet;

use glimpse::query::{Limits, Markers, Scope, View, parse};
use glimpse::store::{Projection, Store, Traced};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, SqliteConnection};

/// The size of every page.
pub const PAGE: u32 = 25;

/// A query of the matrix.
#[derive(Clone, Debug)]
pub struct Case {
    /// The values, the caller and the page, in words.
    pub label: String,
    pub query: String,
    pub view: View,
    /// How many ranges it has: the sizes, and `changes-since`.
    pub ranges: usize,
    /// How many properties it asks for.
    pub properties: usize,
}

/// The pages that PostgreSQL touched for a statement, whether or not it held them in memory. Entries
/// that it reads inside an index and passes over are in no count of rows; these tell of them.
pub fn buffers(statement: &Traced) -> i64 {
    // The first line of a plan is the whole, and names its pages right below.
    let line = statement.steps.iter().map(|step| step.trim_start()).find(|step| step.starts_with("Buffers: shared "));
    let number = |word: &str| word.strip_prefix("hit=").or(word.strip_prefix("read="))?.parse::<i64>().ok();
    line.unwrap_or_default().split(' ').filter_map(number).sum()
}

/// The documented filters, each a bit of a subset.
const FILTERS: [&str; 7] =
    ["name", "container_format", "disk_format", "status", "size_min", "size_max", "changes-since"];

const EQUALITIES: usize = 4;

/// The values of a setting, in the order of [`FILTERS`].
type Values = [String; 7];

/// The name of a setting, a subset of the filters, and their values.
type Setting = (&'static str, usize, Values);

/// A connection to the catalog for questions that the API does not answer.
pub enum Asking {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Asking {
    pub async fn connect(url: &str) -> Self {
        if url.starts_with("sqlite") {
            let mut connection = SqliteConnection::connect(url).await.expect("the catalog can be opened");
            // What it sorts and numbers may be ten million rows.
            let room = "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -262144";
            sqlx::raw_sql(room).execute(&mut connection).await.expect("the settings are good");
            Self::Sqlite(connection)
        } else {
            Self::Postgres(PgConnection::connect(url).await.expect("the catalog can be reached"))
        }
    }

    /// The rows of a statement that both engines know, whose columns are all text.
    pub async fn rows(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        macro_rules! rows {
            ($connection:expr) => {{
                let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all($connection).await;
                let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
                rows.iter().map(|row| (0..row.len()).map(|column| row.get(column)).collect()).collect()
            }};
        }
        match self {
            Self::Sqlite(connection) => rows!(connection),
            Self::Postgres(connection) => rows!(connection),
        }
    }

    /// The first column, without nulls.
    async fn column(&mut self, sql: &str) -> Vec<String> {
        self.rows(sql).await.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect()
    }

    /// The first column of the first row, where it is not null.
    pub async fn one(&mut self, sql: &str) -> Option<String> {
        self.column(sql).await.into_iter().next()
    }
}

/// Every query of the matrix for the catalog in `store`, which is also at `asking`.
pub async fn cases(store: &Store, asking: &mut Asking) -> Vec<Case> {
    let (callers, marks) = (callers(asking).await, marks(asking).await);
    let mut cases = Vec::new();
    let settings = settings(asking).await;
    for (setting, subset, values) in &settings {
        let given: Vec<String> = (0..FILTERS.len())
            .filter(|filter| subset & 1 << filter != 0)
            .map(|filter| format!("{}={}", FILTERS[filter], values[filter]))
            .collect();
        let ranges = usize::from(subset & 0b011_0000 != 0) + usize::from(subset & 0b100_0000 != 0);
        for (caller, view) in &callers {
            let label = format!("{setting} values, {caller}");
            let case = Case { label, query: given.join("&"), view: view.clone(), ranges, properties: 0 };
            pages(store, case, &marks, &mut cases).await;
        }
    }
    others(store, asking, &callers, &settings, &mut cases).await;
    cases
}

/// The first page, one deep in the list, and the last, as far as there are so many.
async fn pages(store: &Store, case: Case, marks: &Marks, cases: &mut Vec<Case>) {
    let page = |name: &str, more: String| {
        let query = [case.query.as_str(), &more].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        Case { label: format!("{}, {name} page", case.label), query: query.join("&"), ..case.clone() }
    };
    cases.push(page("first", String::new()));
    // The end of the list is the beginning of the list in the other direction.
    let end = ids(store, &page("", "sort_dir=asc".to_owned())).await;
    let Some(last) = end.last().filter(|_| end.len() == PAGE as usize) else { return };
    cases.push(page("last", format!("marker={last}")));
    if let Some(deep) = middle(store, &case, marks).await {
        cases.push(page("deep", format!("marker={deep}")));
    }
}

/// Images that everybody may name, oldest first, each with its creation.
type Marks = Vec<(String, String)>;

/// A hundred or so of them, evenly spread.
async fn marks(asking: &mut Asking) -> Marks {
    let rows = asking.rows(
        "SELECT replace(CAST(created_at AS TEXT), ' ', 'T'), CAST(id AS TEXT) FROM \
         (SELECT created_at, id, row_number() OVER (ORDER BY created_at, id) AS number, count(*) OVER () AS total \
          FROM images WHERE is_public AND NOT deleted AND status = 'active') AS numbered \
         WHERE number % (total / 100 + 1) = 0 ORDER BY number",
    );
    rows.await
        .into_iter()
        .filter_map(|row| <[Option<String>; 2]>::try_from(row).ok())
        .filter_map(|[time, id]| time.zip(id))
        .collect()
}

/// The image that stands about in the middle of those between the first and the last match.
async fn middle(store: &Store, case: &Case, marks: &Marks) -> Option<String> {
    let ends = [case.query.clone(), format!("{}&sort_dir=asc", case.query)];
    let mut times = Vec::new();
    for query in ends {
        let first = documents(store, &Case { query, ..case.clone() }).await;
        times.push(first.first()?["created_at"].as_str()?.to_owned());
    }
    let place = |time: &String| marks.partition_point(|(mark, _)| mark < time);
    marks.get(usize::midpoint(place(&times[0]), place(&times[1]))).map(|(_, id)| id.clone())
}

async fn ids(store: &Store, case: &Case) -> Vec<String> {
    let documents = documents(store, case).await;
    documents.iter().filter_map(|image| image["id"].as_str().map(str::to_owned)).collect()
}

async fn documents(store: &Store, case: &Case) -> Vec<serde_json::Value> {
    let query = parse(&case.query, Limits { default: PAGE, max: PAGE }).expect("the matrix has good queries");
    let page = store.page(&query, &case.view, Projection::Detail).await;
    let page = page.unwrap_or_else(|error| panic!("{}: {error}", case.query));
    let mut body: serde_json::Value = serde_json::from_str(&page.json).expect("a page is JSON");
    body["images"].as_array_mut().map(std::mem::take).unwrap_or_default()
}

/// Who asks: one who sees all, a project with many images, and one with few.
async fn callers(asking: &mut Asking) -> Vec<(&'static str, View)> {
    let mut callers = vec![("all images", View { listed: Scope::All, markers: Markers::Any })];
    for (caller, order) in [("a project with many", "DESC"), ("a project with few", "ASC")] {
        let owners = format!(
            "SELECT owner FROM images WHERE owner IS NOT NULL GROUP BY owner ORDER BY count(*) {order}, owner LIMIT 1"
        );
        if let Some(project) = asking.one(&owners).await {
            callers.push((caller, View { listed: Scope::Project(project), markers: Markers::Listed }));
        }
    }
    callers
}

/// Every subset of the filters with the values of every setting.
async fn settings(asking: &mut Asking) -> Vec<Setting> {
    let mut frequent: Vec<Vec<String>> = Vec::new();
    let mut rare: Vec<String> = Vec::new();
    for column in &FILTERS[..EQUALITIES] {
        let by_count = |order: &str, limit: usize| {
            format!(
                "SELECT {column} FROM images WHERE deleted = FALSE AND {column} IS NOT NULL \
                 GROUP BY {column} ORDER BY count(*) {order}, {column} LIMIT {limit}"
            )
        };
        frequent.push(asking.column(&by_count("DESC", 12)).await);
        rare.extend(asking.one(&by_count("ASC", 1)).await);
    }
    let sizes = Quantiles::of("size", asking).await;
    let times = Quantiles::of("updated_at", asking).await;
    let mut ranges = async |low: f64, high: f64, since: f64| {
        [sizes.at(low, asking).await, sizes.at(high, asking).await, times.at(since, asking).await]
    };
    let common_ranges = ranges(0.1, 0.9, 0.48).await;
    let rare_ranges = ranges(0.9997, 0.9998, 1.0).await;
    // Middles between common and rare, where no plan is at its best.
    let middles = [
        ("a 30th", ranges(0.5, 0.5333, 0.967).await),
        ("a 100th", ranges(0.5, 0.51, 0.99).await),
        ("a 300th", ranges(0.5, 0.5033, 0.9967).await),
    ];

    let values = |equalities: &dyn Fn(usize) -> String, ranges: &[String; 3]| -> Values {
        std::array::from_fn(|filter| match filter.checked_sub(EQUALITIES) {
            Some(range) => ranges[range].clone(),
            None => equalities(filter),
        })
    };
    let common = values(&|filter| frequent[filter][0].clone(), &common_ranges);
    let rare = values(&|filter| rare[filter].clone(), &rare_ranges);
    let nothing: Values =
        ["no such name", "no such format", "no such format", "importing", "9223372036854775807", "0", "9999"]
            .map(str::to_owned);

    let together = together(asking, &frequent[0]).await;
    let mut settings = Vec::new();
    for subset in 0..1 << FILTERS.len() {
        settings.push(("common", subset, common.clone()));
        if subset != 0 {
            settings.push(("rare", subset, rare.clone()));
            settings.push(("unknown", subset, nothing.clone()));
        }
        if let Some(values) = apart(&together, subset, &frequent, &common) {
            settings.push(("common but together empty", subset, values));
        }
    }
    for (name, ranges) in middles {
        let values = values(&|filter| common[filter].clone(), &ranges);
        for subset in
            (0..1 << FILTERS.len()).filter(|subset| subset & 0b111_0000 != 0 && subset & 0b011_0000 != 0b001_0000)
        {
            settings.push((name, subset, values.clone()));
        }
    }
    settings
}

/// A column's values in their order, without nulls and without deleted images.
struct Quantiles {
    column: &'static str,
    count: f64,
}

impl Quantiles {
    async fn of(column: &'static str, asking: &mut Asking) -> Self {
        let sql = format!("SELECT CAST(count(*) AS TEXT) FROM images WHERE deleted = FALSE AND {column} IS NOT NULL");
        let count = asking.one(&sql).await.and_then(|count| count.parse().ok());
        Self { column, count: count.expect("the catalog can be counted") }
    }

    /// The value below which this part of them lies, or the greatest.
    async fn at(&self, part: f64, asking: &mut Asking) -> String {
        let Self { column, count } = self;
        let sql = format!(
            "SELECT replace(CAST({column} AS TEXT), ' ', 'T') FROM images \
             WHERE deleted = FALSE AND {column} IS NOT NULL ORDER BY {column} LIMIT 1 OFFSET {:.0}",
            (count * part).floor().min(count - 1.0)
        );
        asking.one(&sql).await.expect("the catalog has that many images")
    }
}

/// What the images have in the columns of the equalities.
type Together = Vec<[Option<String>; EQUALITIES]>;

/// What there is together with one of these names, and, without a name, what there is at all.
async fn together(asking: &mut Asking, names: &[String]) -> Together {
    let others = FILTERS[1..EQUALITIES].join(", ");
    let sql = format!(
        "SELECT name, {others} FROM images WHERE name IN ('{}') UNION SELECT NULL, {others} FROM images",
        names.join("', '")
    );
    asking.rows(&sql).await.into_iter().filter_map(|row| row.try_into().ok()).collect()
}

/// Values that are common each, and that no image has together; none where the catalog has no such.
fn apart(together: &Together, subset: usize, frequent: &[Vec<String>], common: &Values) -> Option<Values> {
    let equalities: Vec<usize> = (0..EQUALITIES).filter(|filter| subset & 1 << filter != 0).collect();
    let mut values = common.clone();
    if equalities.len() > 1 {
        let seen: BTreeSet<Vec<&Option<String>>> =
            together.iter().map(|row| equalities.iter().map(|filter| &row[*filter]).collect()).collect();
        // By the rank of the least frequent, so that all are as common as can be.
        let mut ranks = vec![0; equalities.len()];
        for most in 0..12 {
            loop {
                let chosen: Vec<Option<String>> =
                    equalities.iter().zip(&ranks).map(|(filter, rank)| frequent[*filter].get(*rank).cloned()).collect();
                if chosen.iter().all(Option::is_some) && !seen.contains(&chosen.iter().collect::<Vec<_>>()) {
                    for (filter, value) in equalities.iter().zip(chosen) {
                        values[*filter] = value?;
                    }
                    return Some(values);
                }
                // The next combination of ranks up to `most`.
                let Some(place) = ranks.iter().position(|rank| *rank < most) else { break };
                ranks[place] += 1;
                ranks[..place].fill(0);
            }
            ranks.fill(0);
        }
        return None;
    }
    if subset & 0b011_0000 == 0b011_0000 {
        // Nearly everything is above the one or below the other.
        values[4] = (common[5].parse::<i64>().ok()? / 2 + 1).to_string();
        values[5] = (common[5].parse::<i64>().ok()? / 2).to_string();
        return Some(values);
    }
    None
}

/// Properties, and every order without a filter and with one.
async fn others(
    store: &Store,
    asking: &mut Asking,
    callers: &[(&'static str, View)],
    settings: &[Setting],
    cases: &mut Vec<Case>,
) {
    let properties = asking
        .one("SELECT CAST(properties AS TEXT) FROM images WHERE deleted = FALSE AND length(CAST(properties AS TEXT)) > 60 ORDER BY created_at LIMIT 1")
        .await;
    let properties: serde_json::Map<String, serde_json::Value> =
        properties.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let asked: Vec<String> = properties
        .iter()
        .filter_map(|(name, value)| Some(format!("property-{name}={}", value.as_str()?)))
        .filter(|pair| !pair.contains(['&', '%', '+', '#']))
        .collect();
    let singles: Vec<(&str, String)> = {
        let mut seen = BTreeSet::new();
        let single = settings.iter().filter(|(_, subset, _)| subset.is_power_of_two());
        single
            .map(|(setting, subset, values)| {
                let filter = subset.trailing_zeros() as usize;
                (*setting, format!("{}={}", FILTERS[filter], values[filter]))
            })
            .filter(|(_, query)| seen.insert(query.clone()))
            .collect()
    };
    for (caller, view) in callers {
        let case = |label: String, query: String, properties: usize| {
            let ranges = usize::from(query.contains("size_")) + usize::from(query.contains("changes-since"));
            Case { label: format!("{label}, {caller}"), query, view: view.clone(), ranges, properties }
        };
        for pair in &asked {
            cases.push(case("a property, first page".to_owned(), pair.clone(), 1));
            for (setting, filter) in &singles {
                cases.push(case(format!("a property and {setting}, first page"), format!("{pair}&{filter}"), 1));
            }
        }
        if let [first, second, ..] = asked.as_slice() {
            cases.push(case("two properties, first page".to_owned(), format!("{first}&{second}"), 2));
        }
        for key in ["name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at"] {
            for direction in ["asc", "desc"] {
                let order = format!("sort_key={key}&sort_dir={direction}");
                let sorted = case("an order".to_owned(), order.clone(), 0);
                let first = ids(store, &sorted).await;
                cases.push(sorted);
                if let Some(marker) = first.last() {
                    cases.push(case("an order, second page".to_owned(), format!("{order}&marker={marker}"), 0));
                }
                for (setting, filter) in &singles {
                    cases.push(case(format!("an order and {setting}"), format!("{order}&{filter}"), 0));
                }
            }
        }
    }
}
