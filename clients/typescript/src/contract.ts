// Code generated from internal/httpapi/openapi.yaml, sha256 7ece53eceab844db82d53718e245424b4409e4edce5451d0361beebb152c282b. DO NOT EDIT.

export interface paths {
    "/v1/memories": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The caller's memories, newest first unless sorted otherwise
         * @description Memories must meet every condition that is given. Deleted ones never appear.
         */
        get: operations["listMemories"];
        put?: never;
        /**
         * Add a memory
         * @description The user, the app and the categories are made on first use.
         */
        post: operations["createMemory"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/memories/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        /** One memory */
        get: operations["getMemory"];
        put?: never;
        post?: never;
        /** Delete a memory */
        delete: operations["deleteMemory"];
        options?: never;
        head?: never;
        /**
         * Change content, metadata or categories
         * @description What is absent stays as it is. Categories are replaced as a whole.
         */
        patch: operations["changeMemory"];
        trace?: never;
    };
    "/v1/memories/{id}/archive": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Archive a memory */
        post: operations["archiveMemory"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/memories/{id}/pause": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Pause a memory */
        post: operations["pauseMemory"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/memories/{id}/activate": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Make a paused or archived memory active again */
        post: operations["activateMemory"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/memories/{id}/history": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        /**
         * The changes of a memory's state, oldest first
         * @description Lines that an import brought are among them. What a memory held is in its versions.
         */
        get: operations["getMemoryHistory"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/memories/{id}/versions": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        /**
         * The versions of a memory, newest first
         * @description What the memory held after each of its events, which fields that changed, and what they were before. It is read from
         *     the journal, up to the version that the rows have. A page has fewer items than `limit` when they are large. Through
         *     `as_app`, versions that the app's access rules, as they are now, keep from it are left out. A deleted memory is absent;
         *     the versions are back with it.
         */
        get: operations["listMemoryVersions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/memories/{id}/versions/{version}": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["ID"];
                version: number;
            };
            cookie?: never;
        };
        /**
         * One version of a memory
         * @description Its `ETag` is that of the memory as it is, so that it can be sent as `If-Match` to restore the version.
         */
        get: operations["getMemoryVersion"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/memories/{id}/restore": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Restore an old version of a memory
         * @description The memory has the content, metadata and categories of that version again, as a new version; its state and app stay. It
         *     can be undone by restoring the version before. A version that the memory does not have is `invalid` (422). A deleted
         *     memory is absent: undelete it first.
         */
        post: operations["restoreMemory"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/memories/{id}/undelete": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Make a deleted memory active again
         * @description With everything that it had when it was deleted. One that is not deleted stays as it is. The ids of deleted memories are
         *     in the feed of changes and in exports.
         */
        post: operations["undeleteMemory"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/apps": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The caller's apps, by name unless sorted otherwise */
        get: operations["listApps"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/apps/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        /** One app */
        get: operations["getApp"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /**
         * Change description or metadata
         * @description What is absent stays as it is; an empty text takes away.
         */
        patch: operations["changeApp"];
        trace?: never;
    };
    "/v1/memories/{id}/access-log": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        /**
         * Who accessed a memory, newest first
         * @description Accesses come in a little later than they happen, expire after some time (90 days unless the operator says
         *     otherwise), and are not part of what is proven. What was asked is not in them.
         */
        get: operations["listMemoryAccesses"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/apps/{id}/accessed": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        /**
         * The memories that were accessed through an app, most accessed first
         * @description As far as the access log remembers. Deleted memories are left out.
         */
        get: operations["listAppAccessed"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/apps/{id}/access-rules": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        /**
         * The access rules of an app, oldest first; at most 1000
         * @description They say which of the caller's memories are read through the app. Without rules, or with rules that only deny, it
         *     reads all but what they deny; once a rule allows something, it reads only what rules allow. Deny beats allow.
         */
        get: operations["listAccessRules"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/apps/{id}/access-rules/{rule}": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["ID"];
                /** @description An id that the caller makes up. */
                rule: string;
            };
            cookie?: never;
        };
        /** One access rule */
        get: operations["getAccessRule"];
        /**
         * Set an access rule
         * @description What the rule is about is not looked up: a rule about what does not exist, or is somebody else's, covers nothing.
         *     Versions and ETags are those of the app.
         */
        put: operations["putAccessRule"];
        post?: never;
        /** Withdraw an access rule; nothing to do when there is none */
        delete: operations["withdrawAccessRule"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/memories/search": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The memories that words find, best first
         * @description A memory is found when all words of `q` are in its content, whole and in any case; `"a phrase"` in this order, `-word`
         *     not at all, `or` between alternatives. The score, between 0 and 1, says how well the words fit: how often they are
         *     there and how close together. When there is none, and `q` is no more than words, memories are found that have a part
         *     like it, letter by letter: what is misspelt, other forms of a word; the score says how like. `match` in the answer
         *     says how it was, and as a parameter asks for one of the two. With `recency` a part of the score is the age of the
         *     memory, which halves every `half_life_days`.
         */
        get: operations["searchMemories"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/memories/bulk/archive": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Archive many memories
         * @description Those of `ids`, or those of the caller that a filter selects when the call begins; of all, only with `all`. A filter
         *     without `states` selects the active and paused ones, for a deletion also the archived ones. Each is a command of its
         *     own: `results` says what became of each, in the order of `ids`. With `more` the filter had selected more than a
         *     call moves: repeat it, with `Prefer: wait=<seconds>` each time, so that what is done is no longer selected.
         *     Repeating a call with its `Idempotency-Key` does what was left undone, and nothing twice.
         */
        post: operations["archiveMemories"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/memories/bulk/pause": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Pause many memories
         * @description Those of `ids`, or those of the caller that a filter selects when the call begins; of all, only with `all`. A filter
         *     without `states` selects the active and paused ones, for a deletion also the archived ones. Each is a command of its
         *     own: `results` says what became of each, in the order of `ids`. With `more` the filter had selected more than a
         *     call moves: repeat it, with `Prefer: wait=<seconds>` each time, so that what is done is no longer selected.
         *     Repeating a call with its `Idempotency-Key` does what was left undone, and nothing twice.
         */
        post: operations["pauseMemories"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/memories/bulk/activate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Make active again many memories
         * @description Those of `ids`, or those of the caller that a filter selects when the call begins; of all, only with `all`. A filter
         *     without `states` selects the active and paused ones, for a deletion also the archived ones. Each is a command of its
         *     own: `results` says what became of each, in the order of `ids`. With `more` the filter had selected more than a
         *     call moves: repeat it, with `Prefer: wait=<seconds>` each time, so that what is done is no longer selected.
         *     Repeating a call with its `Idempotency-Key` does what was left undone, and nothing twice.
         */
        post: operations["activateMemories"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/memories/bulk/delete": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Delete many memories
         * @description Those of `ids`, or those of the caller that a filter selects when the call begins; of all, only with `all`. A filter
         *     without `states` selects the active and paused ones, for a deletion also the archived ones. Each is a command of its
         *     own: `results` says what became of each, in the order of `ids`. With `more` the filter had selected more than a
         *     call moves: repeat it, with `Prefer: wait=<seconds>` each time, so that what is done is no longer selected.
         *     Repeating a call with its `Idempotency-Key` does what was left undone, and nothing twice.
         */
        post: operations["deleteMemories"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/memories/{id}/related": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        /** The memories that share categories with this one, most shared first, then the newest */
        get: operations["listRelatedMemories"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/categories": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The categories of the caller's active and paused memories, by name */
        get: operations["listCategories"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/apps/{id}/memories": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        /** The memories of one app, newest first */
        get: operations["listAppMemories"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/apps/{id}/pause": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Let an app take no new memories and read none */
        post: operations["pauseApp"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/apps/{id}/activate": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** End the pause of an app */
        post: operations["activateApp"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/stats": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** How much the caller has */
        get: operations["getStats"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/me": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What is known about the caller
         * @description A login that has stored nothing yet is at version 0.
         */
        get: operations["getMe"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /**
         * Change name, email or metadata
         * @description What is absent stays as it is; an empty text takes away.
         */
        patch: operations["changeMe"];
        trace?: never;
    };
    "/v1/archive-policies": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The caller's archive policies, oldest first */
        get: operations["listArchivePolicies"];
        put?: never;
        /**
         * Let memories be archived by their age
         * @description The server goes round (once an hour, unless the operator says otherwise) and archives, in the caller's name, those of
         *     the caller's active and paused memories that were made more than so many days ago. A memory that is activated again
         *     is archived again. The app or category is not looked up; one that is not there, or not the caller's, has no memories.
         */
        post: operations["createArchivePolicy"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/archive-policies/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        /** One archive policy */
        get: operations["getArchivePolicy"];
        /** Replace what an archive policy says */
        put: operations["changeArchivePolicy"];
        post?: never;
        /** Withdraw an archive policy; what it archived stays archived */
        delete: operations["withdrawArchivePolicy"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/config": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The settings that the users of the tenant share
         * @description They are kept for the tenant's clients; the server itself heeds none of them. No answer ever shows a secret:
         *     `********` stands in its place. **Mark what is secret**: `{"$secret": "text"}` in the place of any text is that text,
         *     and sealed before it is stored. What is not marked is sealed, too, when it is a known secret of mem0 and OpenMemory;
         *     when its name, or the name that an entry `{"name": ..., "value": ...}` gives it, speaks of a key, secret, token,
         *     password, credential, authorization, cookie and the like (a name that ends in one of the first takes nothing but a
         *     text); or when the text looks like a secret: private keys, JWTs, tokens of known services, addresses and connection
         *     strings with passwords, headers. What was never set is at version 0.
         */
        get: operations["getConfig"];
        /**
         * Replace all settings
         * @description `********` in the place of a secret keeps that secret; in a list it must be given anew.
         */
        put: operations["replaceConfig"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /**
         * Change some settings
         * @description `settings` is a JSON Merge Patch (RFC 7396): null takes a member away, what is absent stays.
         */
        patch: operations["changeConfig"];
        trace?: never;
    };
    "/v1/changes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What has changed of what the caller may read
         * @description Own memories and apps, the own user, and the tenant's categories; in the order in which it happened, each change
         *     once it can be read, without content: read the thing itself, with the `position` of the change as
         *     `Refold-Min-Position`. Nothing is left out and nothing comes twice to whoever goes on from the last token; what
         *     was never confirmed by asking for more may come again.
         *
         *     With `Accept: text/event-stream` the answer is a stream of server-sent events of type `change`, whose `data` is a
         *     Change and whose `id` is the token to go on from (`Last-Event-ID`, as browsers send it). An event without data
         *     moves the token on and shows that the connection lives; `problem` is the last event when the stream ends for a
         *     reason. It ends with the bearer token, and whenever the server wants: come again. Otherwise the answer is a page,
         *     for which `Prefer: wait=<seconds>` waits.
         *
         *     `Refold-Position` is how far a page goes, or where a stream begins. Changes come from the journal, so that there
         *     is neither an edition nor an age to tell.
         */
        get: operations["listChanges"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tenant/changes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What has changed in the whole tenant, for integrators
         * @description As `/v1/changes`, for everything of all users of the tenant.
         */
        get: operations["listTenantChanges"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * All that the caller has, as a zip
         * @description The format of OpenMemory, version "1": `memories.json` with user, apps, categories, memories in whatever state,
         *     their history and the access rules of the apps, and `memories.jsonl.gz`. It is of one moment. An answer that
         *     breaks off is no zip: ask again.
         */
        get: operations["exportMemories"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/import": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Bring an export in, as the caller's
         * @description A zip of at most 536870912 bytes as `/v1/export` and OpenMemory make it. The whole file is checked before the first
         *     command; one bad record refuses it, unless `partial` is set. It may be repeated any number of times, also after it
         *     broke off: what is there is not added again. Ids of memories stay, unless another user of the tenant has one.
         *
         *     The answer comes when all is stored. With `Accept: application/x-ndjson` it is a line of JSON for every step of
         *     progress, `{"phase", "done", "total"}`, and a last one, `{"report"}` or `{"problem"}`. When the connection ends, so
         *     does the import.
         */
        post: operations["importMemories"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/admin/tenants": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The tenants with what they hold, by id */
        get: operations["listTenants"];
        put?: never;
        /** Create a tenant; one that exists stays as it is */
        post: operations["createTenant"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/admin/tenants/{tenant}": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                tenant: string;
            };
            cookie?: never;
        };
        /** One tenant, also a removed one */
        get: operations["getTenant"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/admin/tenants/{tenant}/suspend": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                tenant: string;
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Refuse the tenant's commands; questions are answered
         * @description It is stored, and this process refuses, when this is answered; other processes follow milliseconds later.
         */
        post: operations["suspendTenant"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/admin/tenants/{tenant}/resume": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                tenant: string;
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Take the tenant's commands again */
        post: operations["resumeTenant"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/admin/tenants/{tenant}/remove": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                tenant: string;
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Remove a tenant for ever
         * @description To its principals everything is absent from then on, and its id is never used again. Its events stay in the journal.
         */
        post: operations["removeTenant"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/admin/tenants/{tenant}/limits": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                tenant: string;
            };
            cookie?: never;
        };
        get?: never;
        /** Replace what the tenant may take of the plane */
        put: operations["setTenantLimits"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/admin/status": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Stores, shards, editions, processes, and everything that is wrong */
        get: operations["getStatus"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/admin/reports": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The newest signed reports, newest first */
        get: operations["listReports"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/healthz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The process is alive */
        get: operations["getHealth"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/readyz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * This process answers questions, or takes commands
         * @description 200 when what is asked for is answered in every shard, or in the given one. A shard that is stopped goes on answering
         *     questions from its rows and takes no commands: then `status` is `degraded`, and `reasons` say why. The problem of a 503
         *     has the members `reads` and `commands` as well. What was found may be a second old.
         */
        get: operations["getReady"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/problems": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What can go wrong, by code */
        get: operations["listProblems"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/problems/{code}": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                code: string;
            };
            cookie?: never;
        };
        /**
         * What a problem means and what to do about it
         * @description The `type` of every problem leads here.
         */
        get: operations["getProblem"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/openapi.yaml": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** This document */
        get: operations["getOpenAPI"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/openapi.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** This document as JSON */
        get: operations["getOpenAPIAsJSON"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/asyncapi.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The same for producers over NATS, with the schemas of commands and events */
        get: operations["getAsyncAPI"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @enum {string} */
        MemoryState: "active" | "paused" | "archived";
        /** @enum {string} */
        Order: "asc" | "desc";
        CreateMemory: {
            content: string;
            /** @description Name of the app. */
            app?: string;
            categories?: string[];
            metadata?: components["schemas"]["Metadata"];
        };
        ChangeMemory: {
            content?: string;
            categories?: string[];
            metadata?: components["schemas"]["Metadata"];
        };
        /** @description Any JSON object. */
        Metadata: {
            [key: string]: unknown;
        };
        Memory: {
            /** Format: uuid */
            id: string;
            /** Format: int64 */
            version: number;
            content: string;
            metadata: components["schemas"]["Metadata"];
            state: components["schemas"]["MemoryState"];
            app?: components["schemas"]["AppName"];
            categories: string[];
            /** Format: date-time */
            created_at: string;
            /** Format: date-time */
            updated_at: string;
            /** Format: date-time */
            archived_at?: string;
        };
        AppName: {
            /** Format: uuid */
            id: string;
            name: string;
        };
        MemoryPage: {
            items: components["schemas"]["Memory"][];
            next_cursor?: string;
            /**
             * Format: int64
             * @description Items of all pages, with `count=true`.
             */
            total?: number;
        };
        MemoryHistory: {
            items: components["schemas"]["StatusChange"][];
        };
        StatusChange: {
            /** Format: int64 */
            version: number;
            /** Format: uuid */
            changed_by: string;
            old_state: string;
            new_state: string;
            /** Format: date-time */
            changed_at: string;
        };
        MemoryVersionPage: {
            items: components["schemas"]["MemoryVersion"][];
            next_cursor?: string;
        };
        MemoryVersion: {
            /** Format: int64 */
            version: number;
            /** @description Kind of the event that made it, such as `memory.changed.v1`. */
            kind: string;
            /**
             * Format: uuid
             * @description The user who did; absent when no user did.
             */
            changed_by?: string;
            /**
             * Format: date-time
             * @description When the command was accepted.
             */
            at: string;
            content: string;
            metadata: components["schemas"]["Metadata"];
            state: components["schemas"]["VersionState"];
            app?: components["schemas"]["AppName"];
            categories: string[];
            /** @description The fields that differ from the version before; none for the first one, and where only times or the status history do. */
            changed: ("content" | "metadata" | "categories" | "state" | "app")[];
            before?: components["schemas"]["VersionBefore"];
        };
        /**
         * @description The fields named by `changed` as they were in the version before; an app that is absent here was none. Absent as a whole
         *     when nothing has changed, and when access rules keep that version from the app.
         */
        VersionBefore: {
            content?: string;
            metadata?: components["schemas"]["Metadata"];
            state?: components["schemas"]["VersionState"];
            app?: components["schemas"]["AppName"];
            categories?: string[];
        };
        /** @enum {string} */
        VersionState: "active" | "paused" | "archived" | "deleted";
        RestoreMemory: {
            /**
             * Format: int64
             * @description The version to restore; the number of the newest one is the `version` of the memory.
             */
            version: number;
        };
        App: {
            /** Format: uuid */
            id: string;
            /** Format: int64 */
            version: number;
            name: string;
            description?: string;
            metadata: components["schemas"]["Metadata"];
            active: boolean;
            /**
             * Format: int64
             * @description How many of its memories can be read; deleted ones cannot.
             */
            memories: number;
            /** Format: date-time */
            created_at: string;
            /** Format: date-time */
            updated_at: string;
        };
        AppPage: {
            items: components["schemas"]["App"][];
            next_cursor?: string;
            /**
             * Format: int64
             * @description Items of all pages, with `count=true`.
             */
            total?: number;
        };
        Access: {
            /** Format: date-time */
            at: string;
            /** @description How: `read`, `list`, `search`, `update`, `archive`, `pause`, `activate`, `delete`, ... */
            kind: string;
            /** Format: uuid */
            user_id: string;
            /**
             * Format: uuid
             * @description The app through which it was; absent without one.
             */
            app_id?: string;
            app_name?: string;
        };
        AccessPage: {
            items: components["schemas"]["Access"][];
            /**
             * Format: int64
             * @description Of all pages.
             */
            total: number;
            next_cursor?: string;
        };
        AccessedMemory: {
            memory: components["schemas"]["Memory"];
            /** Format: int64 */
            access_count: number;
            /** Format: date-time */
            last_accessed: string;
        };
        AccessedPage: {
            items: components["schemas"]["AccessedMemory"][];
            next_cursor?: string;
        };
        /** @enum {string} */
        AccessEffect: "allow" | "deny";
        PutAccessRule: {
            /**
             * @description A memory, or the memories of an app, of a category or of a user. An app reads nothing but the memories of its owner: a rule about another user covers none.
             * @enum {string}
             */
            object_type: "memory" | "app" | "category" | "user";
            /**
             * Format: uuid
             * @description Absent = all of the type.
             */
            object_id?: string;
            /** @enum {string} */
            effect: "allow" | "deny";
        };
        AccessRule: {
            /** Format: uuid */
            id: string;
            object_type: string;
            /** Format: uuid */
            object_id?: string;
            effect: components["schemas"]["AccessEffect"];
            /** Format: date-time */
            created_at: string;
        };
        ArchiveRule: {
            /**
             * @description All memories, those of an app, or those of a category.
             * @enum {string}
             */
            criteria: "global" | "app" | "category";
            /**
             * Format: uuid
             * @description The app or category; absent for global.
             */
            criteria_id?: string;
            /** @description The age at which a memory is archived. */
            days: number;
        };
        ArchivePolicy: {
            /** Format: uuid */
            id: string;
            /** Format: int64 */
            version: number;
            criteria: string;
            /** Format: uuid */
            criteria_id?: string;
            days: number;
            /** Format: date-time */
            created_at: string;
            /** Format: date-time */
            updated_at: string;
        };
        ArchivePolicyPage: {
            items: components["schemas"]["ArchivePolicy"][];
            next_cursor?: string;
        };
        AccessRuleList: {
            items: components["schemas"]["AccessRule"][];
        };
        FoundMemories: {
            items: components["schemas"]["FoundMemory"][];
            /**
             * @description How they were found.
             * @enum {string}
             */
            match: "words" | "similar";
            /** @description True when older memories were not looked at: a search looks at the 10,000 newest that a filter selects and that have its words. Narrow it by a filter. */
            partial?: boolean;
            /**
             * Format: int64
             * @description How many were found in all.
             */
            total: number;
        };
        FoundMemory: {
            memory: components["schemas"]["Memory"];
            /** Format: double */
            score: number;
            highlight?: string;
        };
        RelatedMemories: {
            items: components["schemas"]["RelatedMemory"][];
            next_cursor?: string;
            /**
             * Format: int64
             * @description Items of all pages, with `count=true`.
             */
            total?: number;
        };
        RelatedMemory: {
            memory: components["schemas"]["Memory"];
            /**
             * Format: int64
             * @description How many categories the two share.
             */
            shared: number;
        };
        /** @description Either `ids`, or at least one of the other members, all of which a memory must meet. */
        WhichMemories: {
            ids?: string[];
            /** @description Memories need not meet anything but what stands beside it. */
            all?: boolean;
            app_ids?: string[];
            /** @description Names; a memory is of any of `app_ids` or of these. */
            apps?: string[];
            category_ids?: string[];
            categories?: string[];
            states?: components["schemas"]["MemoryState"][];
            search?: string;
            /** Format: date-time */
            from?: string;
            /** Format: date-time */
            to?: string;
            /** Format: date-time */
            updated_from?: string;
            /** Format: date-time */
            updated_to?: string;
            /** @description What the metadata must contain; at most 4096 bytes. */
            metadata?: components["schemas"]["Metadata"];
            /** @description What the metadata must not contain, as a whole; at most 4096 bytes. */
            not_metadata?: components["schemas"]["Metadata"];
        };
        MovedMemories: {
            results: components["schemas"]["MovedMemory"][];
            /** @description The filter had selected more than these. */
            more: boolean;
        };
        MovedMemory: {
            /** Format: uuid */
            id: string;
            /**
             * @description `nothing`: it was so already. `refused`: nothing was stored; after `not_stored`, repeat the call. `unknown`: it may or may not be stored; repeat the call with the same key.
             * @enum {string}
             */
            outcome: "changed" | "nothing" | "refused" | "unknown";
            /**
             * Format: int64
             * @description Of the memory, after `changed` and `nothing`.
             */
            version?: number;
            /** @description Why it was refused or is unknown, as of a problem: `not_found`, ... */
            code?: string;
        };
        CategoryPage: {
            items: components["schemas"]["Category"][];
            next_cursor?: string;
            /**
             * Format: int64
             * @description Items of all pages, with `count=true`.
             */
            total?: number;
        };
        Category: {
            /** Format: uuid */
            id: string;
            name: string;
            description?: string;
            /**
             * Format: int64
             * @description How many active and paused memories of the caller it has.
             */
            memories: number;
        };
        ChangeApp: {
            description?: string;
            metadata?: components["schemas"]["Metadata"];
        };
        Config: {
            /** Format: int64 */
            version: number;
            settings: components["schemas"]["Metadata"];
            /** @description The secrets that are set, by JSON Pointer into the settings, each with a sign that changes when the secret does. */
            secrets: {
                [key: string]: string;
            };
            /** Format: uuid */
            changed_by?: string;
            /** Format: date-time */
            updated_at?: string;
        };
        ChangeConfig: {
            settings: components["schemas"]["Metadata"];
        };
        Stats: {
            /**
             * Format: int64
             * @description All that are not deleted.
             */
            memories: number;
            /** Format: int64 */
            active: number;
            /** Format: int64 */
            paused: number;
            /** Format: int64 */
            archived: number;
            /** Format: int64 */
            apps: number;
            /**
             * Format: int64
             * @description Of the active and paused memories.
             */
            categories: number;
        };
        Me: {
            /** Format: uuid */
            id: string;
            /** Format: int64 */
            version: number;
            /** @description The login. */
            subject: string;
            name?: string;
            email?: string;
            metadata: components["schemas"]["Metadata"];
            /** Format: date-time */
            created_at?: string;
            /** Format: date-time */
            updated_at?: string;
        };
        ChangeMe: {
            name?: string;
            email?: string;
            metadata?: components["schemas"]["Metadata"];
        };
        Accepted: {
            /** Format: uuid */
            id: string;
            /** Format: int64 */
            version: number;
            /** @description False when there was nothing to do. */
            changed: boolean;
        };
        CreateTenant: {
            tenant: string;
            /** @description For people. */
            name?: string;
        };
        /** @description 0, or none, is what the plane gives every tenant. */
        TenantLimits: {
            /** @description Requests a second, over time. */
            per_second?: number;
            /** @description Requests at once after a quiet time. */
            burst?: number;
            /** @description Requests at any moment. */
            in_flight?: number;
        };
        Tenant: {
            tenant: string;
            name: string;
            /** @description active, suspended or removed */
            standing: string;
            shard: number;
            /** Format: date-time */
            created_at: string;
            limits: components["schemas"]["TenantLimits"];
            size?: components["schemas"]["TenantSize"];
        };
        /** @description What the live edition holds. */
        TenantSize: {
            /** Format: int64 */
            edition: number;
            /**
             * Format: int64
             * @description Newest sequence of its shard that is folded.
             */
            position: number;
            /** Format: int64 */
            events: number;
            rows: {
                [key: string]: number;
            };
        };
        TenantPage: {
            items: components["schemas"]["Tenant"][];
            next_after?: string;
        };
        Status: {
            [key: string]: unknown;
        };
        ReportList: {
            items: components["schemas"]["Report"][];
        };
        Report: {
            /** Format: int64 */
            number: number;
            kind: string;
            digest: string;
            /** Format: date-time */
            made_at: string;
            /** Format: int64 */
            bytes: number;
        };
        Health: {
            status: string;
        };
        Readiness: {
            /** @enum {string} */
            status: "ready" | "degraded" | "not_ready";
            reads: components["schemas"]["ReadyFor"];
            commands: components["schemas"]["ReadyFor"];
        };
        ReadyFor: {
            /** @description Answered in every shard, though perhaps degraded. */
            ready: boolean;
            reasons: {
                /** @description Absent for every shard. */
                shard?: number;
                /** @description A stop state or another reason; stable. */
                code: string;
                /** @enum {string} */
                effect: "degraded" | "unavailable";
            }[];
        };
        Problem: {
            /**
             * Format: uri-reference
             * @description Path of the document that explains it; stable.
             */
            type: string;
            title: string;
            status: number;
            /** @description Stable; what a program should look at. */
            code: string;
            detail: string;
            /** @description JSON pointer to what is wrong in the body. */
            pointer?: string;
            /** @description The same request may succeed later. */
            retryable: boolean;
        };
        ProblemType: {
            /** Format: uri-reference */
            type: string;
            code: string;
            title: string;
            status: number;
            meaning: string;
            /** @description What the caller can do. */
            remedy: string;
            /** @description The same request may succeed later. */
            retryable: boolean;
        };
        ProblemList: {
            items: components["schemas"]["ProblemType"][];
        };
        Change: {
            /** @description Kind of the event, such as `memory.added.v1`. */
            kind: string;
            /** @description What it is about: `memory`, `app`, `user`, `category`, ... */
            entity: string;
            id: string;
            /**
             * Format: int64
             * @description Of the entity after the change.
             */
            version: number;
            /**
             * Format: date-time
             * @description When the command was accepted.
             */
            time: string;
            /** @description Rows that have the change: a value for `Refold-Min-Position`. */
            position: string;
        };
        ChangePage: {
            items: components["schemas"]["Change"][];
            /** @description The token to go on from; there is always one. */
            next: string;
        };
        ImportReport: {
            mode: string;
            /** @description Every record was dealt with, be it by a refusal. */
            complete: boolean;
            /** @description By kind of record: `user`, `app`, `category`, `memory`, `memory_category`, `status_history`, `access_control`, `jsonl_line`. */
            counts: {
                [key: string]: components["schemas"]["ImportCounts"];
            };
            refused: number;
            /** @description The first thousand. */
            refusals?: components["schemas"]["ImportRefusal"][];
            /** @description Memories whose id another user of the tenant has; they have one derived from both. */
            moved: number;
        };
        ImportCounts: {
            read: number;
            added: number;
            changed: number;
            unchanged: number;
            refused: number;
        };
        ImportRefusal: {
            kind: string;
            id?: string;
            /** @description JSON pointer into memories.json. */
            path: string;
            reason: string;
        };
    };
    responses: {
        /** @description Accepted, or nothing to do; 202 when `respond-async` was preferred and the rows do not have it yet. */
        Accepted: {
            headers: {
                ETag: components["headers"]["ETag"];
                "Refold-Position": components["headers"]["Refold-Position"];
                "Preference-Applied": components["headers"]["Preference-Applied"];
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["Accepted"];
            };
        };
        /** @description What became of each memory; 202 when `respond-async` was preferred and the rows do not have it yet. */
        Moved: {
            headers: {
                "Refold-Position": components["headers"]["Refold-Position"];
                "Preference-Applied": components["headers"]["Preference-Applied"];
                /** @description The key of the call, by which it can be repeated. */
                "Idempotency-Key"?: string;
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["MovedMemories"];
            };
        };
        /** @description What went wrong, in a form for machines (RFC 9457). */
        Problem: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
    };
    parameters: {
        ID: string;
        /**
         * @description Read as this app of the caller: only memories that its access rules allow, in items, totals and numbers alike; none
         *     while it is paused, and none as an app that is not the caller's. Without rules, or with rules that only deny, it
         *     reads all that they do not deny; once one allows anything, only what rules allow. Deny beats allow.
         */
        AsApp: string;
        /**
         * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
         *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
         *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
         *     answered 202 instead of 200 or 201: it is stored for good, and will show.
         */
        Prefer: string;
        /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
        Position: string;
        /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
        IdempotencyKey: string;
        /** @description The `ETag` that the entity must have, or `*`. Its version is what counts, so the ETags of commands and of questions will both do. */
        IfMatch: string;
        /** @description As elsewhere, but required where content is replaced, so that nobody overwrites what they have not seen; 428 when absent. `*` takes whatever is there. */
        IfMatchRequired: string;
        /** @description `ETag`s of earlier answers; 304 without a body when the answer would be one of them. */
        IfNoneMatch: string;
    };
    requestBodies: never;
    headers: {
        /** @description Version of the entity; in the answer to a question followed by a dot and a digest of the answer. */
        ETag: string;
        /** @description Which preference of `Prefer` the answer honours. */
        "Preference-Applied": string;
        /** @description The edition that answered. */
        "Refold-Edition": string;
        /** @description Opaque position of the answer. */
        "Refold-Position": string;
        /** @description Milliseconds since the rows last moved. */
        "Refold-Age-Ms": string;
    };
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    listMemories: {
        parameters: {
            query?: {
                /**
                 * @description Read as this app of the caller: only memories that its access rules allow, in items, totals and numbers alike; none
                 *     while it is paused, and none as an app that is not the caller's. Without rules, or with rules that only deny, it
                 *     reads all that they do not deny; once one allows anything, only what rules allow. Deny beats allow.
                 */
                as_app?: components["parameters"]["AsApp"];
                /** @description Only memories of any of these apps, or of those that `app` names. */
                app_id?: string[];
                /** @description Only memories of any of the caller's apps with one of these names, or with one of the ids in `app_id`. */
                app?: string[];
                /** @description The states wanted; active and paused when absent. */
                state?: components["schemas"]["MemoryState"][];
                /** @description Substring of the content; case does not matter, and nothing in it is a wildcard. */
                search?: string;
                /** @description Only memories of any category with one of these names, or with one of the ids in `category_id`. */
                category?: string[];
                /** @description Only memories of any of these categories, or of those that `category` names. */
                category_id?: string[];
                /** @description Created at this time or later. */
                from?: string;
                /** @description Created at this time or earlier. */
                to?: string;
                /** @description Updated at this time or later. */
                updated_from?: string;
                /** @description Updated at this time or earlier. */
                updated_to?: string;
                /**
                 * @description A JSON object that the metadata must contain: each member with its value, of an array each element in any place.
                 *     `{"vault":"WLT"}` selects `{"vault":"WLT","tags":["a","b"]}`, and so does `{"tags":["b"]}`.
                 */
                metadata?: string;
                /** @description A JSON object that the metadata must not contain, as a whole. */
                not_metadata?: string;
                /** @description `content` goes by its first 100 characters, `app` by the name of the app, both byte by byte. Equals follow each other by their ids. */
                sort?: "created_at" | "updated_at" | "content" | "app";
                /** @description `desc` for times and numbers, `asc` for texts when absent. */
                order?: components["schemas"]["Order"];
                /** @description Say in `total` how many items all pages have. */
                count?: boolean;
                /** @description `next_cursor` of the page before, with the same filter. All pages come from the edition of the first; once that is gone the answer is 410 `edition_gone`: begin again. */
                cursor?: string;
                limit?: number;
            };
            header?: {
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page. */
            200: {
                headers: {
                    "Refold-Edition": components["headers"]["Refold-Edition"];
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Refold-Age-Ms": components["headers"]["Refold-Age-Ms"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MemoryPage"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    createMemory: {
        parameters: {
            query?: never;
            header?: {
                /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateMemory"];
            };
        };
        responses: {
            /** @description The memory, as accepted. */
            201: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    Location?: string;
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Preference-Applied": components["headers"]["Preference-Applied"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Memory"];
                };
            };
            /** @description The memory, as accepted. */
            202: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    Location?: string;
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Preference-Applied": components["headers"]["Preference-Applied"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Memory"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getMemory: {
        parameters: {
            query?: {
                /**
                 * @description Read as this app of the caller: only memories that its access rules allow, in items, totals and numbers alike; none
                 *     while it is paused, and none as an app that is not the caller's. Without rules, or with rules that only deny, it
                 *     reads all that they do not deny; once one allows anything, only what rules allow. Deny beats allow.
                 */
                as_app?: components["parameters"]["AsApp"];
            };
            header?: {
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
                /** @description `ETag`s of earlier answers; 304 without a body when the answer would be one of them. */
                "If-None-Match"?: components["parameters"]["IfNoneMatch"];
            };
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The memory. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Refold-Edition": components["headers"]["Refold-Edition"];
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Refold-Age-Ms": components["headers"]["Refold-Age-Ms"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Memory"];
                };
            };
            /** @description As it was. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    deleteMemory: {
        parameters: {
            query?: never;
            header?: {
                /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
                /** @description The `ETag` that the entity must have, or `*`. Its version is what counts, so the ETags of commands and of questions will both do. */
                "If-Match"?: components["parameters"]["IfMatch"];
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
            };
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: components["responses"]["Accepted"];
            202: components["responses"]["Accepted"];
            default: components["responses"]["Problem"];
        };
    };
    changeMemory: {
        parameters: {
            query?: never;
            header: {
                /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
                /** @description As elsewhere, but required where content is replaced, so that nobody overwrites what they have not seen; 428 when absent. `*` takes whatever is there. */
                "If-Match": components["parameters"]["IfMatchRequired"];
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
            };
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ChangeMemory"];
            };
        };
        responses: {
            200: components["responses"]["Accepted"];
            202: components["responses"]["Accepted"];
            default: components["responses"]["Problem"];
        };
    };
    archiveMemory: {
        parameters: {
            query?: never;
            header?: {
                /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
                /** @description The `ETag` that the entity must have, or `*`. Its version is what counts, so the ETags of commands and of questions will both do. */
                "If-Match"?: components["parameters"]["IfMatch"];
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
            };
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: components["responses"]["Accepted"];
            202: components["responses"]["Accepted"];
            default: components["responses"]["Problem"];
        };
    };
    pauseMemory: {
        parameters: {
            query?: never;
            header?: {
                /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
                /** @description The `ETag` that the entity must have, or `*`. Its version is what counts, so the ETags of commands and of questions will both do. */
                "If-Match"?: components["parameters"]["IfMatch"];
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
            };
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: components["responses"]["Accepted"];
            202: components["responses"]["Accepted"];
            default: components["responses"]["Problem"];
        };
    };
    activateMemory: {
        parameters: {
            query?: never;
            header?: {
                /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
                /** @description The `ETag` that the entity must have, or `*`. Its version is what counts, so the ETags of commands and of questions will both do. */
                "If-Match"?: components["parameters"]["IfMatch"];
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
            };
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: components["responses"]["Accepted"];
            202: components["responses"]["Accepted"];
            default: components["responses"]["Problem"];
        };
    };
    getMemoryHistory: {
        parameters: {
            query?: {
                /**
                 * @description Read as this app of the caller: only memories that its access rules allow, in items, totals and numbers alike; none
                 *     while it is paused, and none as an app that is not the caller's. Without rules, or with rules that only deny, it
                 *     reads all that they do not deny; once one allows anything, only what rules allow. Deny beats allow.
                 */
                as_app?: components["parameters"]["AsApp"];
            };
            header?: {
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
                /** @description `ETag`s of earlier answers; 304 without a body when the answer would be one of them. */
                "If-None-Match"?: components["parameters"]["IfNoneMatch"];
            };
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The status history. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Refold-Edition": components["headers"]["Refold-Edition"];
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Refold-Age-Ms": components["headers"]["Refold-Age-Ms"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MemoryHistory"];
                };
            };
            /** @description As it was. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    listMemoryVersions: {
        parameters: {
            query?: {
                /**
                 * @description Read as this app of the caller: only memories that its access rules allow, in items, totals and numbers alike; none
                 *     while it is paused, and none as an app that is not the caller's. Without rules, or with rules that only deny, it
                 *     reads all that they do not deny; once one allows anything, only what rules allow. Deny beats allow.
                 */
                as_app?: components["parameters"]["AsApp"];
                /** @description `next_cursor` of the page before. */
                cursor?: string;
                limit?: number;
            };
            header?: {
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
            };
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page. */
            200: {
                headers: {
                    "Refold-Edition": components["headers"]["Refold-Edition"];
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Refold-Age-Ms": components["headers"]["Refold-Age-Ms"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MemoryVersionPage"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getMemoryVersion: {
        parameters: {
            query?: {
                /**
                 * @description Read as this app of the caller: only memories that its access rules allow, in items, totals and numbers alike; none
                 *     while it is paused, and none as an app that is not the caller's. Without rules, or with rules that only deny, it
                 *     reads all that they do not deny; once one allows anything, only what rules allow. Deny beats allow.
                 */
                as_app?: components["parameters"]["AsApp"];
            };
            header?: {
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
                /** @description `ETag`s of earlier answers; 304 without a body when the answer would be one of them. */
                "If-None-Match"?: components["parameters"]["IfNoneMatch"];
            };
            path: {
                id: components["parameters"]["ID"];
                version: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The version. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Refold-Edition": components["headers"]["Refold-Edition"];
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Refold-Age-Ms": components["headers"]["Refold-Age-Ms"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MemoryVersion"];
                };
            };
            /** @description As it was. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    restoreMemory: {
        parameters: {
            query?: never;
            header: {
                /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
                /** @description As elsewhere, but required where content is replaced, so that nobody overwrites what they have not seen; 428 when absent. `*` takes whatever is there. */
                "If-Match": components["parameters"]["IfMatchRequired"];
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
            };
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RestoreMemory"];
            };
        };
        responses: {
            200: components["responses"]["Accepted"];
            202: components["responses"]["Accepted"];
            default: components["responses"]["Problem"];
        };
    };
    undeleteMemory: {
        parameters: {
            query?: never;
            header?: {
                /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
                /** @description The `ETag` that the entity must have, or `*`. Its version is what counts, so the ETags of commands and of questions will both do. */
                "If-Match"?: components["parameters"]["IfMatch"];
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
            };
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: components["responses"]["Accepted"];
            202: components["responses"]["Accepted"];
            default: components["responses"]["Problem"];
        };
    };
    listApps: {
        parameters: {
            query?: {
                /**
                 * @description Read as this app of the caller: only memories that its access rules allow, in items, totals and numbers alike; none
                 *     while it is paused, and none as an app that is not the caller's. Without rules, or with rules that only deny, it
                 *     reads all that they do not deny; once one allows anything, only what rules allow. Deny beats allow.
                 */
                as_app?: components["parameters"]["AsApp"];
                /** @description Substring of the name; case does not matter. */
                search?: string;
                active?: boolean;
                /** @description `name` goes byte by byte. Equals follow each other by their ids. */
                sort?: "name" | "memories" | "created_at";
                /** @description `desc` for times and numbers, `asc` for texts when absent. */
                order?: components["schemas"]["Order"];
                /** @description Say in `total` how many items all pages have. */
                count?: boolean;
                cursor?: string;
                limit?: number;
            };
            header?: {
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page. */
            200: {
                headers: {
                    "Refold-Edition": components["headers"]["Refold-Edition"];
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Refold-Age-Ms": components["headers"]["Refold-Age-Ms"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AppPage"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getApp: {
        parameters: {
            query?: {
                /**
                 * @description Read as this app of the caller: only memories that its access rules allow, in items, totals and numbers alike; none
                 *     while it is paused, and none as an app that is not the caller's. Without rules, or with rules that only deny, it
                 *     reads all that they do not deny; once one allows anything, only what rules allow. Deny beats allow.
                 */
                as_app?: components["parameters"]["AsApp"];
            };
            header?: {
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
                /** @description `ETag`s of earlier answers; 304 without a body when the answer would be one of them. */
                "If-None-Match"?: components["parameters"]["IfNoneMatch"];
            };
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The app. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Refold-Edition": components["headers"]["Refold-Edition"];
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Refold-Age-Ms": components["headers"]["Refold-Age-Ms"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["App"];
                };
            };
            /** @description As it was. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    changeApp: {
        parameters: {
            query?: never;
            header: {
                /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
                /** @description As elsewhere, but required where content is replaced, so that nobody overwrites what they have not seen; 428 when absent. `*` takes whatever is there. */
                "If-Match": components["parameters"]["IfMatchRequired"];
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
            };
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ChangeApp"];
            };
        };
        responses: {
            200: components["responses"]["Accepted"];
            202: components["responses"]["Accepted"];
            default: components["responses"]["Problem"];
        };
    };
    listMemoryAccesses: {
        parameters: {
            query?: {
                cursor?: string;
                limit?: number;
            };
            header?: {
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
            };
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page. */
            200: {
                headers: {
                    "Refold-Edition": components["headers"]["Refold-Edition"];
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Refold-Age-Ms": components["headers"]["Refold-Age-Ms"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AccessPage"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listAppAccessed: {
        parameters: {
            query?: {
                cursor?: string;
                limit?: number;
            };
            header?: {
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
            };
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page. */
            200: {
                headers: {
                    "Refold-Edition": components["headers"]["Refold-Edition"];
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Refold-Age-Ms": components["headers"]["Refold-Age-Ms"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AccessedPage"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listAccessRules: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
                /** @description `ETag`s of earlier answers; 304 without a body when the answer would be one of them. */
                "If-None-Match"?: components["parameters"]["IfNoneMatch"];
            };
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description All rules. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Refold-Edition": components["headers"]["Refold-Edition"];
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Refold-Age-Ms": components["headers"]["Refold-Age-Ms"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AccessRuleList"];
                };
            };
            /** @description As it was. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    getAccessRule: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
                /** @description `ETag`s of earlier answers; 304 without a body when the answer would be one of them. */
                "If-None-Match"?: components["parameters"]["IfNoneMatch"];
            };
            path: {
                id: components["parameters"]["ID"];
                /** @description An id that the caller makes up. */
                rule: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The rule. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Refold-Edition": components["headers"]["Refold-Edition"];
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Refold-Age-Ms": components["headers"]["Refold-Age-Ms"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AccessRule"];
                };
            };
            /** @description As it was. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    putAccessRule: {
        parameters: {
            query?: never;
            header?: {
                /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
                /** @description The `ETag` that the entity must have, or `*`. Its version is what counts, so the ETags of commands and of questions will both do. */
                "If-Match"?: components["parameters"]["IfMatch"];
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
            };
            path: {
                id: components["parameters"]["ID"];
                /** @description An id that the caller makes up. */
                rule: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PutAccessRule"];
            };
        };
        responses: {
            200: components["responses"]["Accepted"];
            202: components["responses"]["Accepted"];
            default: components["responses"]["Problem"];
        };
    };
    withdrawAccessRule: {
        parameters: {
            query?: never;
            header?: {
                /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
                /** @description The `ETag` that the entity must have, or `*`. Its version is what counts, so the ETags of commands and of questions will both do. */
                "If-Match"?: components["parameters"]["IfMatch"];
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
            };
            path: {
                id: components["parameters"]["ID"];
                /** @description An id that the caller makes up. */
                rule: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: components["responses"]["Accepted"];
            202: components["responses"]["Accepted"];
            default: components["responses"]["Problem"];
        };
    };
    searchMemories: {
        parameters: {
            query: {
                q: string;
                /**
                 * @description Read as this app of the caller: only memories that its access rules allow, in items, totals and numbers alike; none
                 *     while it is paused, and none as an app that is not the caller's. Without rules, or with rules that only deny, it
                 *     reads all that they do not deny; once one allows anything, only what rules allow. Deny beats allow.
                 */
                as_app?: components["parameters"]["AsApp"];
                /** @description Only memories of any of these apps, or of those that `app` names. */
                app_id?: string[];
                /** @description Only memories of any of the caller's apps with one of these names, or with one of the ids in `app_id`. */
                app?: string[];
                /** @description The states wanted; active and paused when absent. */
                state?: components["schemas"]["MemoryState"][];
                /** @description Substring of the content; case does not matter, and nothing in it is a wildcard. */
                search?: string;
                /** @description Only memories of any category with one of these names, or with one of the ids in `category_id`. */
                category?: string[];
                /** @description Only memories of any of these categories, or of those that `category` names. */
                category_id?: string[];
                /** @description Created at this time or later. */
                from?: string;
                /** @description Created at this time or earlier. */
                to?: string;
                /** @description Updated at this time or later. */
                updated_from?: string;
                /** @description Updated at this time or earlier. */
                updated_to?: string;
                /**
                 * @description A JSON object that the metadata must contain: each member with its value, of an array each element in any place.
                 *     `{"vault":"WLT"}` selects `{"vault":"WLT","tags":["a","b"]}`, and so does `{"tags":["b"]}`.
                 */
                metadata?: string;
                /** @description A JSON object that the metadata must not contain, as a whole. */
                not_metadata?: string;
                /** @description Find by the words alone, or by likeness alone. */
                match?: "words" | "similar";
                /** @description How much of the score is the age. */
                recency?: number;
                half_life_days?: number;
                /** @description Show the places that words match, between « and ». */
                highlight?: boolean;
                limit?: number;
            };
            header?: {
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The best ones. */
            200: {
                headers: {
                    "Refold-Edition": components["headers"]["Refold-Edition"];
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Refold-Age-Ms": components["headers"]["Refold-Age-Ms"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FoundMemories"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    archiveMemories: {
        parameters: {
            query?: never;
            header?: {
                /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["WhichMemories"];
            };
        };
        responses: {
            200: components["responses"]["Moved"];
            202: components["responses"]["Moved"];
            default: components["responses"]["Problem"];
        };
    };
    pauseMemories: {
        parameters: {
            query?: never;
            header?: {
                /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["WhichMemories"];
            };
        };
        responses: {
            200: components["responses"]["Moved"];
            202: components["responses"]["Moved"];
            default: components["responses"]["Problem"];
        };
    };
    activateMemories: {
        parameters: {
            query?: never;
            header?: {
                /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["WhichMemories"];
            };
        };
        responses: {
            200: components["responses"]["Moved"];
            202: components["responses"]["Moved"];
            default: components["responses"]["Problem"];
        };
    };
    deleteMemories: {
        parameters: {
            query?: never;
            header?: {
                /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["WhichMemories"];
            };
        };
        responses: {
            200: components["responses"]["Moved"];
            202: components["responses"]["Moved"];
            default: components["responses"]["Problem"];
        };
    };
    listRelatedMemories: {
        parameters: {
            query?: {
                /**
                 * @description Read as this app of the caller: only memories that its access rules allow, in items, totals and numbers alike; none
                 *     while it is paused, and none as an app that is not the caller's. Without rules, or with rules that only deny, it
                 *     reads all that they do not deny; once one allows anything, only what rules allow. Deny beats allow.
                 */
                as_app?: components["parameters"]["AsApp"];
                /** @description Say in `total` how many items all pages have. */
                count?: boolean;
                cursor?: string;
                limit?: number;
            };
            header?: {
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
            };
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page. */
            200: {
                headers: {
                    "Refold-Edition": components["headers"]["Refold-Edition"];
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Refold-Age-Ms": components["headers"]["Refold-Age-Ms"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RelatedMemories"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listCategories: {
        parameters: {
            query?: {
                /**
                 * @description Read as this app of the caller: only memories that its access rules allow, in items, totals and numbers alike; none
                 *     while it is paused, and none as an app that is not the caller's. Without rules, or with rules that only deny, it
                 *     reads all that they do not deny; once one allows anything, only what rules allow. Deny beats allow.
                 */
                as_app?: components["parameters"]["AsApp"];
                /** @description Say in `total` how many items all pages have. */
                count?: boolean;
                cursor?: string;
                limit?: number;
            };
            header?: {
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page. */
            200: {
                headers: {
                    "Refold-Edition": components["headers"]["Refold-Edition"];
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Refold-Age-Ms": components["headers"]["Refold-Age-Ms"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CategoryPage"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listAppMemories: {
        parameters: {
            query?: {
                /**
                 * @description Read as this app of the caller: only memories that its access rules allow, in items, totals and numbers alike; none
                 *     while it is paused, and none as an app that is not the caller's. Without rules, or with rules that only deny, it
                 *     reads all that they do not deny; once one allows anything, only what rules allow. Deny beats allow.
                 */
                as_app?: components["parameters"]["AsApp"];
                /** @description The states wanted; active and paused when absent. */
                state?: components["schemas"]["MemoryState"][];
                /** @description Say in `total` how many items all pages have. */
                count?: boolean;
                cursor?: string;
                limit?: number;
            };
            header?: {
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
            };
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page. */
            200: {
                headers: {
                    "Refold-Edition": components["headers"]["Refold-Edition"];
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Refold-Age-Ms": components["headers"]["Refold-Age-Ms"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MemoryPage"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    pauseApp: {
        parameters: {
            query?: never;
            header?: {
                /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
                /** @description The `ETag` that the entity must have, or `*`. Its version is what counts, so the ETags of commands and of questions will both do. */
                "If-Match"?: components["parameters"]["IfMatch"];
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
            };
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: components["responses"]["Accepted"];
            202: components["responses"]["Accepted"];
            default: components["responses"]["Problem"];
        };
    };
    activateApp: {
        parameters: {
            query?: never;
            header?: {
                /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
                /** @description The `ETag` that the entity must have, or `*`. Its version is what counts, so the ETags of commands and of questions will both do. */
                "If-Match"?: components["parameters"]["IfMatch"];
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
            };
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: components["responses"]["Accepted"];
            202: components["responses"]["Accepted"];
            default: components["responses"]["Problem"];
        };
    };
    getStats: {
        parameters: {
            query?: {
                /**
                 * @description Read as this app of the caller: only memories that its access rules allow, in items, totals and numbers alike; none
                 *     while it is paused, and none as an app that is not the caller's. Without rules, or with rules that only deny, it
                 *     reads all that they do not deny; once one allows anything, only what rules allow. Deny beats allow.
                 */
                as_app?: components["parameters"]["AsApp"];
            };
            header?: {
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The numbers. */
            200: {
                headers: {
                    "Refold-Edition": components["headers"]["Refold-Edition"];
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Refold-Age-Ms": components["headers"]["Refold-Age-Ms"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Stats"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getMe: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
                /** @description `ETag`s of earlier answers; 304 without a body when the answer would be one of them. */
                "If-None-Match"?: components["parameters"]["IfNoneMatch"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The user. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Refold-Edition": components["headers"]["Refold-Edition"];
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Refold-Age-Ms": components["headers"]["Refold-Age-Ms"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Me"];
                };
            };
            /** @description As it was. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    changeMe: {
        parameters: {
            query?: never;
            header: {
                /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
                /** @description As elsewhere, but required where content is replaced, so that nobody overwrites what they have not seen; 428 when absent. `*` takes whatever is there. */
                "If-Match": components["parameters"]["IfMatchRequired"];
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ChangeMe"];
            };
        };
        responses: {
            200: components["responses"]["Accepted"];
            202: components["responses"]["Accepted"];
            default: components["responses"]["Problem"];
        };
    };
    listArchivePolicies: {
        parameters: {
            query?: {
                cursor?: string;
                limit?: number;
            };
            header?: {
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page. */
            200: {
                headers: {
                    "Refold-Edition": components["headers"]["Refold-Edition"];
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Refold-Age-Ms": components["headers"]["Refold-Age-Ms"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ArchivePolicyPage"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    createArchivePolicy: {
        parameters: {
            query?: never;
            header?: {
                /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ArchiveRule"];
            };
        };
        responses: {
            /** @description Accepted. */
            201: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    Location?: string;
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Preference-Applied": components["headers"]["Preference-Applied"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
            /** @description Accepted. */
            202: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    Location?: string;
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Preference-Applied": components["headers"]["Preference-Applied"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getArchivePolicy: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
                /** @description `ETag`s of earlier answers; 304 without a body when the answer would be one of them. */
                "If-None-Match"?: components["parameters"]["IfNoneMatch"];
            };
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The policy. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Refold-Edition": components["headers"]["Refold-Edition"];
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Refold-Age-Ms": components["headers"]["Refold-Age-Ms"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ArchivePolicy"];
                };
            };
            /** @description As it was. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    changeArchivePolicy: {
        parameters: {
            query?: never;
            header: {
                /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
                /** @description As elsewhere, but required where content is replaced, so that nobody overwrites what they have not seen; 428 when absent. `*` takes whatever is there. */
                "If-Match": components["parameters"]["IfMatchRequired"];
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
            };
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ArchiveRule"];
            };
        };
        responses: {
            200: components["responses"]["Accepted"];
            202: components["responses"]["Accepted"];
            default: components["responses"]["Problem"];
        };
    };
    withdrawArchivePolicy: {
        parameters: {
            query?: never;
            header?: {
                /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
                /** @description The `ETag` that the entity must have, or `*`. Its version is what counts, so the ETags of commands and of questions will both do. */
                "If-Match"?: components["parameters"]["IfMatch"];
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
            };
            path: {
                id: components["parameters"]["ID"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: components["responses"]["Accepted"];
            202: components["responses"]["Accepted"];
            default: components["responses"]["Problem"];
        };
    };
    getConfig: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
                /** @description `ETag`s of earlier answers; 304 without a body when the answer would be one of them. */
                "If-None-Match"?: components["parameters"]["IfNoneMatch"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The config. */
            200: {
                headers: {
                    ETag: components["headers"]["ETag"];
                    "Refold-Edition": components["headers"]["Refold-Edition"];
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Refold-Age-Ms": components["headers"]["Refold-Age-Ms"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Config"];
                };
            };
            /** @description As it was. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    replaceConfig: {
        parameters: {
            query?: never;
            header: {
                /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
                /** @description As elsewhere, but required where content is replaced, so that nobody overwrites what they have not seen; 428 when absent. `*` takes whatever is there. */
                "If-Match": components["parameters"]["IfMatchRequired"];
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ChangeConfig"];
            };
        };
        responses: {
            200: components["responses"]["Accepted"];
            202: components["responses"]["Accepted"];
            default: components["responses"]["Problem"];
        };
    };
    changeConfig: {
        parameters: {
            query?: never;
            header: {
                /** @description Send a command again with the same key, at any time, and it is carried out once. Without a key the server makes one. */
                "Idempotency-Key"?: components["parameters"]["IdempotencyKey"];
                /** @description As elsewhere, but required where content is replaced, so that nobody overwrites what they have not seen; 428 when absent. `*` takes whatever is there. */
                "If-Match": components["parameters"]["IfMatchRequired"];
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ChangeConfig"];
            };
        };
        responses: {
            200: components["responses"]["Accepted"];
            202: components["responses"]["Accepted"];
            default: components["responses"]["Problem"];
        };
    };
    listChanges: {
        parameters: {
            query?: {
                /** @description Where to start without a token. */
                from?: "now" | "begin";
                /** @description The token to go on from: `next` of a page, `id` of an event. */
                after?: string;
                limit?: number;
            };
            header?: {
                /** @description The same as `after`, and counts where both are there. */
                "Last-Event-ID"?: string;
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What has changed. */
            200: {
                headers: {
                    "Refold-Position": components["headers"]["Refold-Position"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ChangePage"];
                    "text/event-stream": string;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listTenantChanges: {
        parameters: {
            query?: {
                /** @description Where to start without a token. */
                from?: "now" | "begin";
                /** @description The token to go on from: `next` of a page, `id` of an event. */
                after?: string;
                limit?: number;
            };
            header?: {
                /** @description The same as `after`, and counts where both are there. */
                "Last-Event-ID"?: string;
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What has changed. */
            200: {
                headers: {
                    "Refold-Position": components["headers"]["Refold-Position"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ChangePage"];
                    "text/event-stream": string;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    exportMemories: {
        parameters: {
            query?: {
                /** @description Only memories of this app. */
                app_id?: string;
                /** @description Created at this time or later. */
                from?: string;
                /** @description Created at this time or earlier. */
                to?: string;
            };
            header?: {
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
                /** @description The answer is at least as new as this position, which an earlier answer gave as `Refold-Position`. A request may use that name as well. */
                "Refold-Min-Position"?: components["parameters"]["Position"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The zip. */
            200: {
                headers: {
                    "Refold-Edition": components["headers"]["Refold-Edition"];
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Refold-Age-Ms": components["headers"]["Refold-Age-Ms"];
                    [name: string]: unknown;
                };
                content: {
                    "application/zip": string;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    importMemories: {
        parameters: {
            query?: {
                /** @description What becomes of memories and apps that are there. */
                mode?: "overwrite" | "skip";
                /** @description Import the good records of a file with bad ones. */
                partial?: boolean;
            };
            header?: {
                /**
                 * @description RFC 7240. A question with `wait=<seconds>` waits that long, at most 30 s, for `Refold-Min-Position`. An accepted
                 *     command with it is answered once the rows have it, which `Preference-Applied: wait=<seconds>` says; when they do
                 *     not have it in time, it is answered all the same. With `respond-async` a command that the rows do not have yet is
                 *     answered 202 instead of 200 or 201: it is stored for good, and will show.
                 */
                Prefer?: components["parameters"]["Prefer"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "multipart/form-data": {
                    /**
                     * Format: binary
                     * @description The zip.
                     */
                    file: string;
                };
            };
        };
        responses: {
            /** @description All of it is stored. */
            200: {
                headers: {
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Preference-Applied": components["headers"]["Preference-Applied"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ImportReport"];
                    "application/x-ndjson": string;
                };
            };
            /** @description All of it is stored. */
            202: {
                headers: {
                    "Refold-Position": components["headers"]["Refold-Position"];
                    "Preference-Applied": components["headers"]["Preference-Applied"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ImportReport"];
                    "application/x-ndjson": string;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listTenants: {
        parameters: {
            query?: {
                /** @description Begin behind this tenant. */
                after?: string;
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TenantPage"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    createTenant: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateTenant"];
            };
        };
        responses: {
            /** @description It was there already. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Tenant"];
                };
            };
            /** @description Created. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Tenant"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getTenant: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                tenant: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The tenant. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Tenant"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    suspendTenant: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                tenant: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The tenant. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Tenant"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    resumeTenant: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                tenant: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The tenant. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Tenant"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    removeTenant: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                tenant: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The tenant. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Tenant"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    setTenantLimits: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                tenant: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["TenantLimits"];
            };
        };
        responses: {
            /** @description The tenant. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Tenant"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getStatus: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description As `refold status -o json` shows it. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Status"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listReports: {
        parameters: {
            query?: {
                kind?: string;
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The reports without their documents. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ReportList"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getHealth: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Alive. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
        };
    };
    getReady: {
        parameters: {
            query?: {
                /** @description What is to be sent here. */
                for?: "reads" | "commands";
                /** @description Of one shard alone. */
                shard?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Ready. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Readiness"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listProblems: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description All problems. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ProblemList"];
                };
            };
        };
    };
    getProblem: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                code: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The problem. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ProblemType"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getOpenAPI: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OpenAPI 3.1. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/yaml": string;
                };
            };
        };
    };
    getOpenAPIAsJSON: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OpenAPI 3.1. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": Record<string, never>;
                };
            };
        };
    };
    getAsyncAPI: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description AsyncAPI 3.0. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": Record<string, never>;
                };
            };
        };
    };
}
