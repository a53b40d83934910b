package problem

// Meaning is what a problem's document says.
type Meaning struct {
	Status    int
	Retryable bool
	Meaning   string
	Remedy    string
}

// Path is where the documents are; the type of a problem is the path of its own.
const Path = "/problems/"

// Meanings are all problems that the edges answer with, by code. It is not to be changed.
var Meanings = map[string]Meaning{
	"unauthorized":           {401, false, "The request carries no bearer token.", "Send Authorization: Bearer <token>."},
	"invalid_request":        {401, false, "The Authorization header is not one bearer token.", "Send exactly one Authorization header of the form Bearer <token>."},
	"invalid_token":          {401, false, "The token is forged, damaged, expired, or not for this server.", "Get a new token from an issuer that this server trusts."},
	"insufficient_scope":     {403, false, "The token lacks the scope that this operation asks for. It says nothing about data.", "Get a token with the scope that WWW-Authenticate names."},
	"forbidden":              {403, false, "A rule of the caller's own tenant does not allow the command. It was not stored.", "Change the rule, or do without."},
	"tenant_suspended":       {403, false, "An operator has suspended the tenant. Questions are answered, commands are refused. Nothing was stored.", "Ask the operator of the plane."},
	"app_paused":             {403, false, "The app is paused and takes no new memories. Nothing was stored.", "Activate the app, or use another one."},
	"not_found":              {404, false, "There is no such thing: it never was, it is deleted, or it is somebody else's.", "Look for it in the list."},
	"method_not_allowed":     {405, false, "This path has other methods.", "Use one of those that Allow names."},
	"exists":                 {409, false, "There is such a thing already. Nothing was stored.", "Use the one that is there."},
	"state_forbids":          {409, false, "The state of the thing does not allow the command. Nothing was stored.", "Read it again and decide anew."},
	"position_lost":          {409, false, "The position is of a journal, or of a time of it, that was given up in a restore.", "Drop the position and ask again without it."},
	"edition_gone":           {410, false, "The tables that a list began on are gone.", "Begin the list again without the cursor."},
	"precondition_failed":    {412, false, "The thing is not at the version that If-Match names. Nothing was stored.", "Read it again, decide anew, and send its new ETag."},
	"too_large":              {413, false, "The request is larger than what is taken. Nothing was stored.", "Send less; the limits are in /openapi.yaml."},
	"unsupported_media_type": {415, false, "The body is not of the media type that this operation takes.", "Send the Content-Type that /openapi.yaml gives."},
	"unsupported_encoding":   {415, false, "The body is encoded.", "Send it without Content-Encoding."},
	"invalid":                {422, false, "The body is not what this operation takes, or could not be stored. Nothing was stored.", "Correct what pointer and detail name."},
	"import_refused":         {422, false, "The file is no export that can be imported. Nothing was stored.", "Correct what pointer and detail name; partial=true imports the good records of a file with bad ones."},
	"key_reused":             {422, false, "The Idempotency-Key was used for another command. This one was not stored.", "Use a new key for a new command."},
	"precondition_required":  {428, false, "The command replaces content and says nothing about what it replaces. Nothing was stored.", "Send If-Match (over NATS Refold-Expected-Version) with what was read, or * to replace whatever is there."},
	"headers_too_large":      {431, false, "The address and the headers of the request are larger than what is taken. Nothing was stored.", "Send fewer or shorter headers, and what is long in the body."},
	"confirmation_required":  {428, false, "The tool does something that only the user may decide. Nothing was done.", "Ask the user, and call it again with confirm = true if the answer is yes."},
	"too_many_requests":      {429, true, "A limit of the tenant, or the user's part of what the process does at a time, is used up. Nothing was stored.", "Wait for as long as Retry-After says."},
	"too_slow":               {503, true, "The question took longer than questions of its kind may.", "Ask for less: a shorter page, a narrower filter, no count. Or ask later."},
	"invalid_header":         {400, false, "A header is malformed. Nothing was stored.", "Correct the header that detail names."},
	"invalid_parameter":      {400, false, "A parameter is malformed. Nothing was stored.", "Correct the parameter that detail names."},
	"client_unnamed":         {400, false, "An agent calls a tool and does not say which app it is, so no access rules can be kept for it. Nothing was done.", "Name the client in initialize and send the Mcp-Session-Id of its answer, or call /mcp/{client}/http/{user}."},
	"unreadable":             {400, false, "The body could not be read to its end. Nothing was stored.", "Send the request again."},
	"sealed":                 {400, false, "A cursor, a position or another opaque value was not handed out here for this, or has expired.", "Begin again without it."},
	"busy":                   {503, true, "Too many commands about one thing came at once. This one was not stored.", "Repeat the command."},
	"earlier_unsettled":      {503, true, "In a batch, an earlier command about the same thing may be carried out later. This one was not stored.", "Repeat both, in their order."},
	"keys_unavailable":       {503, true, "The keys of the token's issuer cannot be fetched at the moment, so the token can neither be believed nor refused. Nothing was stored.", "Wait for as long as Retry-After says."},
	"revocations_unknown":    {503, true, "Which tokens were revoked cannot be read at the moment, so none is believed. Nothing was stored.", "Wait for as long as Retry-After says."},
	"no_edition":             {503, true, "No edition is live yet. Nothing was stored.", "Wait for as long as Retry-After says."},
	"not_ready":              {503, true, "The server cannot answer or follow at the moment.", "Ask another one, or wait."},
	"not_yet":                {503, true, "The rows have not reached the position in the time given.", "Ask again, or wait longer with Prefer: wait=<seconds>."},
	"not_stored":             {503, true, "The command could not be carried out at the moment. This attempt stored nothing and decided nothing; an earlier one of unknown outcome stays unknown.", "Repeat it with the same Idempotency-Key."},
	"outcome_unknown":        {503, true, "The command may or may not be stored.", "Repeat it with the Idempotency-Key of the answer: it is stored once, whatever became of the first attempt."},
	"shard_stopped":          {503, true, "The journal and the rows disagree about the past and an operator must decide. The command was surely not stored.", "Wait for as long as Retry-After says. Questions are answered all the same."},
	"unavailable":            {503, true, "The server cannot answer at the moment. A command may or may not be stored.", "Repeat it with the same Idempotency-Key."},
	"journal_full":           {507, true, "The journal's disk budget is used up. Nothing was stored.", "Wait for an operator to raise it."},
}
