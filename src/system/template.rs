//! Tera, without its defaults for HTML and with errors a person can place.

use tera::{Context, ErrorKind, Tera};

/// Why a template failed, and where inside it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct TemplateError {
    /// What is wrong, in Tera's words.
    pub(crate) message: String,
    /// The line inside the template, from 0.
    pub(crate) line: usize,
    /// The column inside that line, from 0.
    pub(crate) column: usize,
}

impl From<tera::Error> for TemplateError {
    fn from(error: tera::Error) -> Self {
        match error.kind() {
            ErrorKind::SyntaxError(report) | ErrorKind::RenderingError(report) => {
                let span = report.span();
                Self {
                    message: lower_first(report.message()),
                    line: span.start_line.saturating_sub(1),
                    column: span.start_col,
                }
            }
            other => Self { message: lower_first(&other.to_string()), line: 0, column: 0 },
        }
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.trim_end_matches('.').chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// A template's text, whatever characters it has: configuration files are not HTML.
pub(crate) fn fill(template: &str, context: &Context) -> Result<String, TemplateError> {
    if !template.contains('{') {
        return Ok(template.to_owned());
    }
    Ok(Tera::one_off(template, context, false)?)
}

/// Whether the template is one at all.
pub(crate) fn check(template: &str) -> Result<(), TemplateError> {
    Ok(Tera::new().add_raw_template("template", template)?)
}

const IF: &str = "{% if ";

/// Whether a boolean expression is one at all.
pub(crate) fn check_condition(expression: &str) -> Result<(), TemplateError> {
    shifted(check(&format!("{IF}{expression} %}}true{{% endif %}}")), IF.len())
}

/// Whether a boolean expression holds. What it asks for and is not there is an error.
pub(crate) fn condition(expression: &str, context: &Context) -> Result<bool, TemplateError> {
    let text = Tera::one_off(&format!("{IF}{expression} %}}true{{% endif %}}"), context, false);
    shifted(text.map_err(TemplateError::from), IF.len()).map(|text| text == "true")
}

const PRINT: &str = "{{ ";

/// Whether an expression for a value is one at all.
pub(crate) fn check_expression(expression: &str) -> Result<(), TemplateError> {
    shifted(check(&format!("{PRINT}{expression} }}}}")), PRINT.len())
}

/// The value of an expression, printed.
pub(crate) fn expression(expression: &str, context: &Context) -> Result<String, TemplateError> {
    let text = Tera::one_off(&format!("{PRINT}{expression} }}}}"), context, false);
    shifted(text.map_err(TemplateError::from), PRINT.len())
}

fn shifted<T>(result: Result<T, TemplateError>, by: usize) -> Result<T, TemplateError> {
    result.map_err(|error| TemplateError { column: error.column.saturating_sub(by), ..error })
}
