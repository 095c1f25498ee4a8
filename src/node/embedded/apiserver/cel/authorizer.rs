//! The variable `authorizer`: what somebody else may do (`k8s.io/apiserver/pkg/cel/library/authz.go`).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use cel::extractors::This;
use cel::objects::{Key, Map, Opaque};
use cel::{Context, ExecutionError, Value};

use crate::node::embedded::apiserver::authz::{Attributes, Decision};
use crate::node::embedded::apiserver::request::UserInfo;

/// Who decides.
pub type Decide = Arc<dyn Fn(&UserInfo, &Attributes) -> Decision + Send + Sync>;

/// A question that is being put together.
#[derive(Clone)]
struct Question {
    decide: Decide,
    user: UserInfo,
    attributes: Attributes,
    part: Part,
}

/// Which of the types of the library it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Group,
    Path,
    Resource,
}

impl PartialEq for Question {
    fn eq(&self, other: &Self) -> bool {
        self.part == other.part && self.attributes == other.attributes
    }
}

impl Eq for Question {}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Question").field(&self.attributes).finish()
    }
}

impl Opaque for Question {
    fn runtime_type_name(&self) -> &str {
        match self.part {
            Part::Group => "kubernetes.authorization.GroupCheck",
            Part::Path => "kubernetes.authorization.PathCheck",
            Part::Resource => "kubernetes.authorization.ResourceCheck",
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Answer(bool, String);

impl Opaque for Answer {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.authorization.Decision"
    }
}

/// Under this name an authorizer knows the question whether the request itself is allowed.
const REQUEST: &str = "requestResource";

/// The variable, for a request of this user about this resource.
pub(super) fn variable(decide: Decide, user: UserInfo, mut attributes: Attributes) -> Value {
    attributes.is_resource = true;
    attributes.verb = String::new();
    let question = Question {
        decide,
        user,
        attributes,
        part: Part::Resource,
    };
    let key = Key::String(Arc::new(REQUEST.to_owned()));
    let map = HashMap::from([(key, Value::Opaque(Arc::new(question)))]);
    Value::Map(Map { map: Arc::new(map) })
}

type Result = std::result::Result<Value, ExecutionError>;

fn wrong(function: &str) -> ExecutionError {
    ExecutionError::no_such_overload(function, Vec::new())
}

fn failed(function: &str, text: &str) -> ExecutionError {
    ExecutionError::function_error(function, text)
}

fn question<'a>(
    value: &'a Value,
    function: &str,
) -> std::result::Result<&'a Question, ExecutionError> {
    match value {
        Value::Opaque(opaque) => opaque.downcast_ref::<Question>(),
        _ => None,
    }
    .ok_or_else(|| wrong(function))
}

/// A new question of who asks through this authorizer.
fn begin(
    authorizer: &Value,
    function: &str,
    part: Part,
) -> std::result::Result<Question, ExecutionError> {
    let Value::Map(map) = authorizer else {
        return Err(wrong(function));
    };
    let key = Key::String(Arc::new(REQUEST.to_owned()));
    let known = question(map.map.get(&key).ok_or_else(|| wrong(function))?, function)?;
    Ok(Question {
        attributes: Attributes::default(),
        part,
        ..known.clone()
    })
}

fn value(question: Question) -> Result {
    Ok(Value::Opaque(Arc::new(question)))
}

/// Declares its functions.
pub(super) fn declare(context: &mut Context<'_, '_>) {
    let _ = context.add_function(
        "path",
        |This(of): This<Value>, path: Arc<String>| -> Result {
            let mut question = begin(&of, "path", Part::Path)?;
            if path.is_empty() {
                return Err(failed("path", "path must not be empty"));
            }
            question.attributes.path.clone_from(&path);
            value(question)
        },
    );
    let _ = context.add_function(
        "group",
        |This(of): This<Value>, group: Arc<String>| -> Result {
            let mut question = begin(&of, "group", Part::Group)?;
            question.attributes.group.clone_from(&group);
            question.attributes.version = "*".to_owned();
            question.attributes.is_resource = true;
            value(question)
        },
    );
    let _ = context.add_function(
        "serviceAccount",
        |This(of): This<Value>, space: Arc<String>, name: Arc<String>| -> Result {
            let known = begin(&of, "serviceAccount", Part::Resource)?;
            if name.is_empty() || name.contains(['/', ':']) {
                return Err(failed("serviceAccount", "Invalid service account name"));
            }
            if space.is_empty() || space.contains(['/', ':', '.']) {
                return Err(failed(
                    "serviceAccount",
                    "Invalid service account namespace",
                ));
            }
            let user = UserInfo {
                username: format!("system:serviceaccount:{space}:{name}"),
                groups: vec![
                    "system:serviceaccounts".to_owned(),
                    format!("system:serviceaccounts:{space}"),
                    "system:authenticated".to_owned(),
                ],
                ..UserInfo::default()
            };
            Ok(variable(known.decide, user, Attributes::default()))
        },
    );
    let _ = context.add_function(
        "resource",
        |This(of): This<Value>, name: Arc<String>| -> Result {
            let mut question = question(&of, "resource")?.clone();
            if question.part != Part::Group {
                return Err(wrong("resource"));
            }
            if name.is_empty() {
                return Err(failed("resource", "resource must not be empty"));
            }
            question.part = Part::Resource;
            question.attributes.resource.clone_from(&name);
            value(question)
        },
    );
    type Set = fn(&mut Attributes, &str);
    let parts: [(&'static str, Set); 5] = [
        ("subresource", |to, text| {
            text.clone_into(&mut to.subresource)
        }),
        ("namespace", |to, text| text.clone_into(&mut to.namespace)),
        ("name", |to, text| text.clone_into(&mut to.name)),
        ("fieldSelector", |to, text| {
            to.field_selector = Some(text.to_owned())
        }),
        ("labelSelector", |to, text| {
            to.label_selector = Some(text.to_owned())
        }),
    ];
    for (function, set) in parts {
        let _ = context.add_function(
            function,
            move |This(of): This<Value>, text: Arc<String>| -> Result {
                let mut question = question(&of, function)?.clone();
                if question.part != Part::Resource {
                    return Err(wrong(function));
                }
                set(&mut question.attributes, &text);
                value(question)
            },
        );
    }
    let _ = context.add_function(
        "check",
        |This(of): This<Value>, verb: Arc<String>| -> Result {
            let mut question = question(&of, "check")?.clone();
            if question.part == Part::Group {
                return Err(wrong("check"));
            }
            question.attributes.verb.clone_from(&verb);
            let decision = (question.decide)(&question.user, &question.attributes);
            Ok(Value::Opaque(Arc::new(Answer(
                decision.allowed,
                decision.reason,
            ))))
        },
    );
    type Get = fn(&Answer) -> Value;
    let answers: [(&'static str, Get); 4] = [
        ("allowed", |answer| Value::Bool(answer.0)),
        ("reason", |answer| Value::String(Arc::new(answer.1.clone()))),
        // The authorisers of this server fail only by not allowing.
        ("errored", |_| Value::Bool(false)),
        ("error", |_| Value::String(Arc::default())),
    ];
    for (function, get) in answers {
        let _ = context.add_function(function, move |This(of): This<Value>| -> Result {
            match &of {
                Value::Opaque(opaque) => opaque.downcast_ref::<Answer>().map(get),
                _ => None,
            }
            .ok_or_else(|| wrong(function))
        });
    }
}
