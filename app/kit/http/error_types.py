"""What the `code` of each problem document means: the pages below /errors, and docs/reference."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ErrorType:
    """An error that a caller can tell by its code."""

    statuses: tuple[int, ...]
    meaning: str
    fix: str


def _type(status: int | tuple[int, ...], meaning: str, fix: str) -> ErrorType:
    return ErrorType((status,) if isinstance(status, int) else status, meaning, fix)


_LATER = "Retry after the seconds in `Retry-After`."
_RUN_ANEW = "Create a new job on the same photos: POST /jobs with `dataset_id`."

#: Code -> its meaning. A test compares it with the codes in the source.
ERROR_TYPES = {
    # requests
    "bad_request": _type(400, "The request cannot be read.", "See `detail`."),
    "invalid_request": _type(
        422, "A parameter or field is missing or invalid.", "`errors` names each of them."
    ),
    "invalid_json": _type(422, "A field is not valid JSON.", "Correct the field in `errors`."),
    "missing": _type(422, "A required field is missing.", "Send it."),
    "unknown_field": _type(
        422,
        "The call has no such field or query parameter.",
        "Check its spelling; see /docs.",
    ),
    "unknown_content_type": _type(
        400,
        "Corrections are neither JSON nor CSV by their Content-Type.",
        "Send `application/json` or `text/csv`.",
    ),
    "bad_event_id": _type(
        400, "Last-Event-ID is not the id of an event.", "Send the `id` of an event, or omit it."
    ),
    "not_found": _type(404, "There is nothing at this address.", "See /docs."),
    "method_not_allowed": _type(405, "The address has no such method.", "See `Allow`."),
    "body_too_slow": _type(
        408,
        "The request body arrived more slowly than DSPT_MIN_UPLOAD_BYTES_PER_SECOND. Nothing was "
        "stored.",
        "Send it again over a faster connection.",
    ),
    "conflict": _type(409, "The current state does not allow the request.", "See `detail`."),
    "precondition_failed": _type(
        412, "`If-Match` is not the current version.", "Read the current one, and repeat."
    ),
    "bad_etag": _type(400, "`If-Match` is not an ETag of this resource.", "Send its `ETag`."),
    "payload_too_large": _type(
        413,
        "The request body is too large.",
        "Send less, or raise DSPT_MAX_UPLOAD_BYTES (uploads) or DSPT_MAX_BODY_BYTES.",
    ),
    "invalid_base64": _type(
        422, "An image in JSON is not valid base64.", "`errors` names it; encode it again."
    ),
    "url_not_fetched": _type(
        422,
        "An image cannot be fetched from its URL.",
        "`errors` names it. The operator allows hosts by DSPT_PREDICT_URL_HOSTS.",
    ),
    "too_many_images": _type(
        413, "The request has too many images.", "Send a zip as `archive`, or several requests."
    ),
    # keys
    "key_missing": _type(
        401,
        "The service has API keys, and the request has none.",
        "Send `Authorization: Bearer KEY`.",
    ),
    "key_invalid": _type(
        401,
        "The API key is invalid, has expired or was revoked, or the sign-in link was used before.",
        "Ask for a new key. For a new link, restart `dspt serve`.",
    ),
    "token_invalid": _type(
        401,
        "The token of the query is invalid, has expired, or is for another path.",
        "Get a new one by `POST /tokens`.",
    ),
    "forbidden": _type(403, "The caller may not do this.", "See `detail`."),
    "scope_missing": _type(
        403, "The API key lacks the scope for this call.", "Use a key with the scope in `detail`."
    ),
    "keys_needed": _type(
        403,
        "The service has no API keys and accepts only its own user's programs on its machine, not "
        "through a proxy.",
        "Create a key with `dspt keys create NAME` and send it.",
    ),
    "host_not_local": _type(
        403,
        "Without API keys the service accepts the host names localhost and 127.0.0.1 only.",
        "Use one of them, or create a key.",
    ),
    "cross_site": _type(
        403,
        "A page of another site must send an API key. A session is for the service's own page.",
        "Send a key from that page. For the service's own page, let the proxy pass on `Host`.",
    ),
    # limits
    "rate_limited": _type(
        429, "More requests or images per minute than the limit of the key.", _LATER
    ),
    "quota_jobs": _type(
        429,
        "The owner has the maximum of unfinished jobs, batches and comparisons.",
        "Wait, or cancel one of them.",
    ),
    "quota_bytes": _type(
        429,
        "Data sets, uploads, zips of batches, models and captured photos of the owner would exceed "
        "the maximum of stored bytes.",
        "Delete models, batches that failed or were cancelled, jobs whose photos are no longer "
        "needed, or data sets that no job uses.",
    ),
    "queue_full": _type(503, "The queue of jobs is full. Nothing was stored.", "Retry later."),
    "busy": _type(503, "Too many requests, images or large bodies are waiting.", _LATER),
    "too_many_waiting": _type(429, "Too many images of this API key are waiting.", _LATER),
    "too_many_listeners": _type(503, "Too many event streams are open.", "Poll the job instead."),
    "uploads_busy": _type(
        503, "Other requests are uploading too many bytes. Nothing was stored.", _LATER
    ),
    "no_predict_url": _type(
        503,
        "This process makes no predictions, and forwards none.",
        "Set DSPT_PREDICT_URL, or send the request to a process that makes predictions.",
    ),
    "predictions_unavailable": _type(503, "No process for predictions answers.", _LATER),
    "outcome_unknown": _type(
        504,
        "The process for predictions gave no answer, and may have carried out the request.",
        "Check whether the request took effect before you repeat it.",
    ),
    "predictions_only": _type(
        404, "This process only makes predictions.", "Send the request to another process."
    ),
    "metrics_incomplete": _type(
        503, "One of the API processes on this port does not report its metrics.", _LATER
    ),
    "stopping": _type(503, "This process of the service is stopping.", _LATER),
    "backbone_downloading": _type(503, "The weights of the backbone are being downloaded.", _LATER),
    "deadline": _type(503, "The prediction did not finish in time.", _LATER),
    "torch_process_ended": _type(
        503, "The process that computes class embeddings has ended unexpectedly.", _LATER
    ),
    # service
    "internal_error": _type(
        500, "An error in the service.", "Report it with the request ID in `detail`."
    ),
    "service_unavailable": _type(503, "A part of the service does not answer.", _LATER),
    "database_unavailable": _type(503, "The database does not answer.", _LATER),
    "weights_unavailable": _type(
        (409, 503), "The weights of the backbone cannot be loaded on this machine.", "See `detail`."
    ),
    "storage_full": _type(
        507, "The disk of the service is full. Nothing was stored.", "Ask the operator."
    ),
    # data sets and jobs
    "not_a_zip": _type(
        422, "The upload is not a zip, or was truncated.", "Send a zip of image folders."
    ),
    "dataset_not_found": _type(
        404,
        "There is no such data set.",
        "GET /datasets lists your data sets; upload deleted photos again.",
    ),
    "dataset_expired": _type(
        409,
        "The photos of the data set were deleted by retention.",
        "Upload them again, or name another data set.",
    ),
    "demo_not_installed": _type(
        409,
        "The service cannot make the demo's photographs.",
        "Install scikit-image, for example with `pip install 'dspt[demo]'`.",
    ),
    "dataset_in_use": _type(
        409,
        "Jobs or later versions use the data set.",
        "Delete those jobs and versions first, the newest version before the others.",
    ),
    "too_many_additions": _type(
        409, "Photos were added too many times.", "Upload all of them as one zip."
    ),
    "invalid_dataset": _type(
        422,
        "The zip cannot be used for a job. `errors` names each problem.",
        "Correct the folders or the table of labels, and upload the zip again.",
    ),
    "key_not_found": _type(404, "There is no such API key.", "GET /keys lists them."),
    "upload_not_found": _type(
        404,
        "There is no such open upload.",
        "If it was complete, GET /datasets lists its data set; else start again by POST /uploads.",
    ),
    "upload_incomplete": _type(
        409, "Parts of the upload have not arrived.", "GET /uploads/{id} lists them; send them."
    ),
    "not_presigned": _type(
        409,
        "This service does not let clients send parts to its bucket.",
        "Send the parts to the service: PUT /uploads/{id}/parts/{number}.",
    ),
    "part_not_found": _type(
        404, "The upload has no part of this number.", "GET /uploads/{id} has the number of parts."
    ),
    "part_missing": _type(
        409,
        "The part is not in the bucket.",
        "Send it to its URL, then repeat POST /uploads/{id}/parts/{number}/stored.",
    ),
    "damaged_part": _type(400, "A part does not match its Content-Digest.", "Send the part again."),
    "damaged_upload": _type(
        400,
        "The whole file does not have the declared SHA-256. The upload was deleted.",
        "Upload the file again, and do not change it meanwhile.",
    ),
    "quota_uploads": _type(
        429,
        "You have too many open uploads.",
        "Complete some of them by POST /datasets, or delete some by DELETE /uploads/{id}.",
    ),
    "photo_not_found": _type(
        404,
        "There is no such photo, or it was deleted.",
        "List those there are: GET /datasets/{id}/images or GET /models/{id}/predictions.",
    ),
    "prediction_not_found": _type(
        404,
        "The prediction was made without `capture`, or its photo was deleted.",
        "GET /models/{id}/predictions lists those that are kept.",
    ),
    "no_feedback": _type(
        409,
        "No captured prediction of the model has feedback.",
        "Send `POST /feedback` for some of GET /models/{id}/predictions first.",
    ),
    "model_without_job": _type(
        409,
        "The job of the model was deleted, or the model was imported.",
        "Add the photos with `POST /datasets/{id}/images`, and start a job on them.",
    ),
    "unknown_cursor": _type(
        422, "The last item of the previous page was deleted.", "Start with the first page."
    ),
    "invalid_class": _type(
        422, "The name cannot be that of a new class.", "See `detail`; correct the name."
    ),
    "unreadable_photo": _type(422, "The file is not an image that can be read.", "See `detail`."),
    "invalid_corrections": _type(
        422,
        "The corrections do not fit the data set. `code` and `errors` name each problem.",
        "Correct them and send all of them again.",
    ),
    "invalid_config": _type(
        422, "A setting is unknown or out of range.", "`errors` names each setting."
    ),
    "invalid_class_names": _type(
        422, "The class words are invalid.", "Send a JSON object: class folder to words."
    ),
    "invalid_name": _type(422, "The name has control characters.", "Remove them."),
    "prompt_too_long": _type(
        422, "Context and class words do not fit the context window.", "Shorten them."
    ),
    "unknown_backbone": _type(
        (409, 422), "There is no such backbone.", "GET /backbones lists them."
    ),
    "backbone_not_allowed": _type(
        422,
        "The operator has not allowed this path or address of weights.",
        "Use a name of GET /backbones, or add it to DSPT_LOCAL_BACKBONES.",
    ),
    "no_pool": _type(
        422,
        "No pool of workers takes this backbone.",
        "Choose another backbone, or add it to DSPT_POOLS.",
    ),
    "idempotency_key_reused": _type(
        409,
        "The Idempotency-Key was used for a different request.",
        "Use a new key for each new request.",
    ),
    "job_not_found": _type(404, "There is no such job.", "GET /jobs lists your jobs."),
    "job_not_finished": _type(409, "The job has not ended yet.", "Wait for it, or cancel it."),
    "job_finished": _type(409, "The job has ended already.", "There is nothing to cancel."),
    "job_succeeded": _type(409, "The job has succeeded.", _RUN_ANEW),
    "batch_not_found": _type(404, "There is no such batch.", "GET /batches lists your batches."),
    "batch_not_finished": _type(409, "The batch has not ended yet.", "Wait, or cancel it."),
    "batch_finished": _type(409, "The batch has ended already.", "There is nothing to cancel."),
    "batch_not_retriable": _type(
        409,
        "The batch has not failed and was not cancelled.",
        "Wait for it, or create a new batch.",
    ),
    "no_health_report": _type(
        404,
        "No job has made a health report of this data set.",
        "Start a job on it, or run `dspt check` on the photos.",
    ),
    "review_changed": _type(
        412,
        "`If-Match` is not the current version of the review: another verdict was saved.",
        "Read the changes by GET /jobs/{id}/review?since=VERSION, and repeat.",
    ),
    "review_full": _type(
        409,
        "The review has too many verdicts that were undone or replaced.",
        "Create a corrected job by POST /jobs/{id}/corrections and go on there.",
    ),
    "review_and_corrections": _type(
        422,
        "`review` is true, and the request has corrections of its own.",
        "Save them in the review, or leave out `review`.",
    ),
    "no_audit": _type(
        409, "The job did not succeed, so it has no audit.", "POST /jobs/{id}/retry runs it again."
    ),
    "audit_not_found": _type(404, "The audit is missing from the storage.", _RUN_ANEW),
    "no_predictions": _type(
        409,
        "The job did not succeed, or an earlier version ran it.",
        "POST /jobs/{id}/retry if it did not succeed; else as for `predictions_not_found`.",
    ),
    "predictions_not_found": _type(404, "The predictions are missing from the storage.", _RUN_ANEW),
    # models
    "model_not_found": _type(404, "There is no such model or alias.", "GET /models lists them."),
    "alias_not_found": _type(404, "There is no such alias.", "GET /aliases lists them."),
    "artifact_not_found": _type(
        (404, 409),
        "The model's file is missing from the storage.",
        "Import the file by POST /models, or tune again by POST /jobs.",
    ),
    "invalid_artifact": _type(
        (409, 422), "The model's file is damaged or not from DSPT.", "Use the original file."
    ),
    "backbone_error": _type((409, 422), "The backbone cannot be used.", "See `detail`."),
    "backbone_mismatch": _type(
        (409, 422), "The model was tuned on other weights of its backbone.", "Tune it again."
    ),
    "model_in_use": _type(
        409,
        "Aliases point to the model.",
        "First move them by PUT /aliases/{name}, or remove them by DELETE /aliases/{name}.",
    ),
    "no_model_before": _type(
        409, "The alias has no previous model.", "Set its model by PUT /aliases/{name}."
    ),
    "model_deleted": _type(
        409, "The alias's previous model was deleted.", "Set another model by PUT /aliases/{name}."
    ),
    "no_curves": _type(404, "The model has no training curves.", "Imported models have none."),
    "cannot_export": _type((409, 422), "The model cannot be exported.", "See `detail`."),
    "unreadable_image": _type(
        422,
        "An image cannot be read.",
        "Send a JPEG, PNG, WebP, AVIF, HEIC, BMP, GIF or TIFF file.",
    ),
    # comparisons
    "comparison_not_found": _type(
        404, "There is no such comparison.", "GET /comparisons lists your comparisons."
    ),
    "comparison_not_finished": _type(
        409, "The comparison has not ended yet.", "Wait, or cancel it."
    ),
    "comparison_finished": _type(
        409, "The comparison has ended already.", "There is nothing to cancel."
    ),
    "comparison_not_retriable": _type(
        409,
        "The comparison has not failed and was not cancelled.",
        "Wait for it, or create a new comparison.",
    ),
    "no_common_photos": _type(
        409, "The models have no test photos in common.", "Name a data set as `dataset_id`."
    ),
    "no_test_part": _type(409, "The data set has no test/ part.", "Name another, or set `all`."),
    "learned_from": _type(
        409, "A model was tuned on these photos.", "Omit `all`, or name another data set."
    ),
    # webhooks
    "webhook_not_found": _type(
        404, "There is no such webhook.", "GET /webhooks lists your webhooks."
    ),
    "delivery_not_found": _type(
        404,
        "The webhook has no such delivery; old ones are deleted.",
        "GET /webhooks/{id}/deliveries lists them.",
    ),
    "url_not_allowed": _type(
        422, "The service sends no requests to this URL.", "`detail` says what it must be."
    ),
    "quota_webhooks": _type(
        429, "The owner has the maximum of webhooks.", "Delete one by DELETE /webhooks/{id}."
    ),
    "webhook_disabled": _type(
        409, "The webhook is disabled.", "Correct the receiver, then POST /webhooks/{id}/enable."
    ),
    "webhook_key_changed": _type(
        409,
        "The key that the webhook's secret was derived from is gone.",
        "Delete the webhook and create it again.",
    ),
    "delivery_pending": _type(409, "The delivery has not ended yet.", "Wait for it."),
    "error": _type(422, "The request cannot be carried out.", "See `detail`."),
}


def type_of(code: str) -> str:
    """Return the `type` of a problem document: the address of the page about `code`."""
    return f"/errors/{code}" if code in ERROR_TYPES else "about:blank"
