//! Deleting what a list selects (`pkg/endpoints/handlers/delete.go`).

use std::sync::Arc;

use super::form::Form;
use super::options::ListOptions;
use super::target::Target;
use super::{convert, delete, list, meta};
use crate::node::embedded::apiserver::api::{ApiResponse, ApiResult};
use crate::node::embedded::apiserver::request::ApiRequest;
use crate::node::embedded::apiserver::state::ApiState;

/// The server lists in pages of this size, which makes a given version an exact one.
const PAGE: usize = 10_000;

pub(super) async fn serve(
    state: &Arc<ApiState>,
    target: &Target,
    request: &ApiRequest,
) -> ApiResult {
    let form = Form::of(request)?;
    let mut options = ListOptions::read(target, request, false)?;
    if options.limit == 0 {
        options.limit = PAGE;
    }
    let delete_options = delete::read_options(target, request)?;
    let page = match list::page(state, target, &options).await {
        Ok(page) => page,
        Err(list::Failure::Status(status)) => return Err(status),
        Err(list::Failure::Answer(answer)) => return Ok(*answer),
    };
    let mut items = Vec::with_capacity(page.items.len());
    for stored in &page.items {
        let item = convert::shown(target, stored);
        let mut one = target.clone();
        meta::text(&item, "name").clone_into(&mut one.name);
        if one.namespace.is_empty() {
            meta::text(&item, "namespace").clone_into(&mut one.namespace);
        }
        match delete::delete(state, &one, request, &delete_options).await {
            Ok(_) => {}
            // Somebody else deleted it.
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
        items.push(item);
    }
    Ok(ApiResponse::object(
        200,
        form.list(target, request, page.meta, items)?,
    ))
}
