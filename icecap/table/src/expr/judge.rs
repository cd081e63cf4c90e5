//! [`Judge`]: a predicate made ready to judge files and manifests of one table.

use std::borrow::Cow;
use std::collections::HashMap;

use iceberg::expr::Predicate;
use iceberg::spec::{
    Datum, FieldSummary, ManifestFile, PartitionSpec, PrimitiveType, Schema, TableMetadata, Transform, Type,
};

use super::facts::Facts;
use super::filter::{Column, Filter};
use super::metrics::{FileMetrics, PartitionValue};
use super::partition::source_facts;
use super::truth::Truth;
use super::value::Value;

/// A partition field whose source column the predicate tests.
#[derive(Debug, Clone)]
struct Projection {
    /// Index among the filter's columns.
    column: usize,
    /// Index in the partition tuple.
    field: usize,
    transform: Transform,
    source: PrimitiveType,
}

/// Judges from metadata alone whether rows of a file can, or certainly do, satisfy a predicate.
///
/// - `may_match` is *inclusive*: `false` means that no row matches.
/// - `all_match` is *strict*: `true` means that every row matches; it is what a metadata-only delete may
///   rely on.
///
/// A part of the predicate that metadata cannot express (see [`is_widened`](Self::is_widened)) counts as
/// "may match" to the one and as "may not match" to the other. SQL's three-valued logic holds: over a row
/// where a comparison meets NULL, neither it nor its negation is true. Each file is judged under its own
/// partition spec; of a spec that is not known, the partition tuple is not used.
#[derive(Debug, Clone)]
pub struct Judge {
    filter: Filter,
    projections: HashMap<i32, Vec<Projection>>,
}

impl Judge {
    /// A judge of `predicate`, whose names are those of `schema` (case-sensitive; a nested field is named
    /// `a.b`), over files of `specs`.
    pub fn new<'a>(
        predicate: &Predicate,
        schema: &Schema,
        specs: impl IntoIterator<Item = &'a PartitionSpec>,
    ) -> Self {
        let mut filter = Filter::bind(predicate, schema);
        let mut counts = Vec::new();
        let projections = specs
            .into_iter()
            .map(|spec| {
                let projections = project(spec, filter.columns());
                for projection in &projections {
                    if let Transform::Bucket(count) = projection.transform {
                        counts.push((projection.column, count));
                    }
                }
                (spec.spec_id(), projections)
            })
            .collect();
        counts.sort_unstable();
        counts.dedup();
        for (column, count) in counts {
            filter.prepare_buckets(column, count);
        }
        Self { filter, projections }
    }

    /// A judge of `predicate`, whose names are those of `schema`, over all files of a table.
    pub fn for_table(predicate: &Predicate, schema: &Schema, metadata: &TableMetadata) -> Self {
        Self::new(predicate, schema, metadata.partition_specs_iter().map(AsRef::as_ref))
    }

    /// Whether some part of the predicate could not be expressed over metadata: an unknown column, a column
    /// inside a list or map, a literal that is no value of the column's type, a comparison with NaN.
    pub fn is_widened(&self) -> bool {
        self.filter.is_widened()
    }

    /// Whether the predicate is the constant true.
    pub fn is_always_true(&self) -> bool {
        self.filter.is_always_true()
    }

    /// Whether some row of `file` may match, by its partition and its metrics.
    pub fn may_match(&self, file: &impl FileMetrics) -> bool {
        may_be_true(self.truth(file))
    }

    /// Whether every row of `file` certainly matches, by its partition and its metrics.
    pub fn all_match(&self, file: &impl FileMetrics) -> bool {
        #[cfg(feature = "testing")]
        if crate::testing::is_planted(crate::testing::Mutation::NullPartitionsIgnored) {
            return !self.truth(file).negate().may_be_true();
        }
        self.truth(file).is_always_true()
    }

    /// Whether some row of `file` may match, by its partition alone.
    pub fn partition_may_match(&self, file: &impl FileMetrics) -> bool {
        may_be_true(self.partition_truth(file))
    }

    /// Whether every row of `file`'s partition certainly matches, whatever file it is in.
    pub fn partition_all_match(&self, file: &impl FileMetrics) -> bool {
        self.partition_truth(file).is_always_true()
    }

    /// Whether some file of `manifest` may have a row that matches, by its partition summaries.
    pub fn manifest_may_match(&self, manifest: &ManifestFile) -> bool {
        let mut facts = self.unknown();
        let summaries = manifest.partitions.as_deref().unwrap_or_default();
        for projection in self.projections(manifest.partition_spec_id) {
            if let Some(summary) = summaries.get(projection.field) {
                narrow(&mut facts, projection, summary_facts(projection, summary));
            }
        }
        self.over(facts).may_be_true()
    }

    /// The truth values over the rows of `file`.
    pub(crate) fn truth(&self, file: &impl FileMetrics) -> Truth {
        if file.record_count() == 0 {
            return Truth::NONE;
        }
        let mut facts = self.partition_facts(file);
        for (known, column) in facts.iter_mut().zip(self.filter.columns()) {
            let metrics = metrics_facts(file, column);
            *known = std::mem::replace(known, Facts::all_null()).and(metrics);
        }
        self.over(facts)
    }

    /// The truth values over the rows of `file`'s partition.
    pub(crate) fn partition_truth(&self, file: &impl FileMetrics) -> Truth {
        self.over(self.partition_facts(file))
    }

    fn over(&self, mut facts: Vec<Facts>) -> Truth {
        for (known, column) in facts.iter_mut().zip(self.filter.columns()) {
            if known.is_impossible() {
                *known = Facts::unknown(column.ty.as_ref());
            }
        }
        self.filter.over(&facts)
    }

    fn unknown(&self) -> Vec<Facts> {
        self.filter.columns().iter().map(|column| Facts::unknown(column.ty.as_ref())).collect()
    }

    fn projections(&self, spec_id: i32) -> &[Projection] {
        self.projections.get(&spec_id).map(Vec::as_slice).unwrap_or_default()
    }

    fn partition_facts(&self, file: &impl FileMetrics) -> Vec<Facts> {
        let mut facts = self.unknown();
        for projection in self.projections(file.spec_id()) {
            let value = file.partition_value(projection.field, &projection.transform, &projection.source);
            narrow(&mut facts, projection, tuple_facts(projection, &value));
        }
        facts
    }
}

fn project(spec: &PartitionSpec, columns: &[Column]) -> Vec<Projection> {
    let fields = spec.fields().iter().enumerate();
    fields
        .filter_map(|(field, partition)| {
            let column = columns.iter().position(|column| column.id == partition.source_id)?;
            let source = columns[column].ty.clone()?;
            Some(Projection { column, field, transform: partition.transform, source })
        })
        .collect()
}

fn narrow(facts: &mut [Facts], projection: &Projection, by: Option<Facts>) {
    if let Some(by) = by {
        let known = &mut facts[projection.column];
        *known = std::mem::replace(known, Facts::all_null()).and(by);
    }
}

/// What one field of a partition tuple says of its source column.
fn tuple_facts(projection: &Projection, value: &PartitionValue) -> Option<Facts> {
    match (&projection.transform, value) {
        (Transform::Void | Transform::Unknown, _) | (_, PartitionValue::Unknown) => None,
        // Every other transform gives NULL for NULL and for nothing else.
        (_, PartitionValue::Null) => Some(Facts::all_null()),
        (_, PartitionValue::Value(value)) if value.is_nan() => Some(Facts::all_nan()),
        (transform, PartitionValue::Value(value)) => {
            source_facts(transform, &projection.source, value, value)
        }
    }
}

/// What a manifest's summary of one partition field says of the source column.
fn summary_facts(projection: &Projection, summary: &FieldSummary) -> Option<Facts> {
    let Projection { transform, source, .. } = projection;
    if matches!(transform, Transform::Void | Transform::Unknown) {
        return None;
    }
    let floating = matches!(source, PrimitiveType::Float | PrimitiveType::Double);
    let nan = floating && summary.contains_nan.unwrap_or(true);
    let mut facts = match (&summary.lower_bound, &summary.upper_bound) {
        (Some(lower), Some(upper)) => {
            let Ok(Type::Primitive(ty)) = transform.result_type(&Type::Primitive(source.clone())) else {
                return None;
            };
            let parse = |bytes: &[u8]| Datum::try_from_bytes(bytes, ty.clone()).ok();
            let ordered = order_is_agreed(&ty) || lower == upper;
            match (parse(lower), parse(upper)) {
                (Some(lower), Some(upper)) if ordered => {
                    source_facts(transform, source, lower.literal(), upper.literal())?
                }
                _ => Facts::all_values(),
            }
        }
        // No bounds: all are NULL or NaN, when the summary says that there are such.
        (None, None) if summary.contains_null || summary.contains_nan == Some(true) => {
            let mut facts = Facts::all_values();
            facts.value = false;
            facts
        }
        _ => Facts::all_values(),
    };
    facts.null = summary.contains_null;
    facts.nan = nan;
    Some(facts)
}

/// Whether all writers order values of the type alike. Java takes the least of several UUIDs by two signed
/// halves, Parquet by unsigned bytes, so UUID bounds bound nothing unless they are one value.
fn order_is_agreed(ty: &PrimitiveType) -> bool {
    *ty != PrimitiveType::Uuid
}

/// What a file's metrics say of a column.
fn metrics_facts(file: &impl FileMetrics, column: &Column) -> Facts {
    let unknown = Facts::unknown(column.ty.as_ref());
    let Some(ty) = &column.ty else { return unknown };
    let rows = file.record_count();
    let nulls = file.null_count(column.id);
    let every_row_counted = file.value_count(column.id).is_none_or(|values| values == rows);
    if every_row_counted && nulls == Some(rows) {
        return Facts::all_null();
    }
    let bound = |datum: Option<Cow<'_, Datum>>| Value::of_datum(datum?.as_ref(), ty);
    let lower = bound(file.lower_bound(column.id, ty));
    let upper = bound(file.upper_bound(column.id, ty));
    let mut facts =
        if order_is_agreed(ty) || lower == upper { unknown.with_bounds(lower, upper) } else { unknown };
    // A struct around the field may itself be NULL, and not every writer counts that.
    facts.null = !(column.top_level && nulls == Some(0));
    if facts.nan {
        let nans = file.nan_count(column.id);
        facts.nan = nans != Some(0);
        if let (true, Some(nans), Some(nulls)) = (every_row_counted, nans, nulls) {
            facts.value = nans.saturating_add(nulls) != rows;
        }
    }
    facts
}

/// Whether a row may match of which these are the possible answers.
fn may_be_true(truth: Truth) -> bool {
    #[cfg(feature = "testing")]
    if crate::testing::is_planted(crate::testing::Mutation::NullPartitionsIgnored) {
        return truth != Truth::FALSE;
    }
    truth.may_be_true()
}
