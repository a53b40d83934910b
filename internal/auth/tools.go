package auth

// Tool is what an agent can call. It carries out the operation that it names, so it asks for the scope that stands in
// the table of operations, and for no other.
type Tool struct {
	Name      string
	Operation string
	Title     string
	Doc       string // for the model: what it does and when to use it
	// ReadOnly, Destructive and Idempotent are hints for clients; nothing rests on them. Destructive and Idempotent mean
	// something only for tools that write.
	ReadOnly    bool
	Destructive bool
	Idempotent  bool
}

// Scope is what the tool asks for.
func (t Tool) Scope() string { return operations[t.Operation] }

// tools are the tools of the MCP edge, in the order in which they are listed.
var tools = []Tool{
	{
		Name: "add_memories", Operation: "createMemory", Title: "Remember something",
		Doc: "Store a memory: one fact, preference, decision or note worth keeping, word for word. Give idempotency_key when the call may be repeated: " +
			"the same key never stores twice.",
	},
	{
		Name: "search_memory", Operation: "searchMemories", Title: "Search memories", ReadOnly: true,
		Doc: "Find memories by words, best first. Call it before answering anything that the user may have said before.",
	},
	{
		Name: "list_memories", Operation: "listMemories", Title: "List memories", ReadOnly: true,
		Doc: "List the memories, newest first or as sorted, a page at a time.",
	},
	{
		Name: "get_memory", Operation: "getMemory", Title: "Read one memory", ReadOnly: true,
		Doc: "Read one memory by its id, with its whole content; a long one in parts, by offset.",
	},
	{
		Name: "related_memories", Operation: "listRelatedMemories", Title: "Related memories", ReadOnly: true,
		Doc: "List the memories that share categories with one, those that share most first.",
	},
	{
		Name: "memory_history", Operation: "getMemoryHistory", Title: "History of a memory", ReadOnly: true,
		Doc: "Tell when a memory was archived, paused or made active again, oldest change first.",
	},
	{
		Name: "memory_versions", Operation: "listMemoryVersions", Title: "Versions of a memory", ReadOnly: true,
		Doc: "List what a memory held before: its versions, newest first, with what each has changed, when, and what that was before.",
	},
	{
		Name: "get_memory_version", Operation: "getMemoryVersion", Title: "Read one version of a memory", ReadOnly: true,
		Doc: "Read one version of a memory with its whole content; a long one in parts, by offset.",
	},
	{
		Name: "memory_accesses", Operation: "listMemoryAccesses", Title: "Access log of a memory", ReadOnly: true,
		Doc: "Tell who read, found or changed a memory, through which app and when, newest first. It comes a moment later than what it tells of, and expires.",
	},
	{
		Name: "update_memory", Operation: "changeMemory", Title: "Change a memory", Destructive: true, Idempotent: true,
		Doc: "Replace the content, the metadata or the categories of a memory. What is not given stays as it is.",
	},
	{
		Name: "restore_memory", Operation: "restoreMemory", Title: "Restore a version of a memory", Destructive: true, Idempotent: true,
		Doc: "Give a memory the content, metadata and categories again that it had at a version, see memory_versions. Restoring the version before undoes it.",
	},
	{
		Name: "delete_memories", Operation: "deleteMemories", Title: "Delete memories", Destructive: true, Idempotent: true,
		Doc: "Delete memories by their ids. There is one result per id. undelete_memory brings one back.",
	},
	{
		Name: "undelete_memory", Operation: "undeleteMemory", Title: "Undelete a memory", Idempotent: true,
		Doc: "Make a deleted memory active again, with all that it had. Only the id finds it: searches and lists do not show what is deleted.",
	},
	{
		Name: "delete_all_memories", Operation: "deleteMemories", Title: "Delete all memories", Destructive: true, Idempotent: true,
		Doc: "Delete every memory that this app may read. The user is asked first where the server can ask; elsewhere confirm must be true, and only the user may say so.",
	},
	{
		Name: "list_categories", Operation: "listCategories", Title: "List categories", ReadOnly: true,
		Doc: "List the categories that memories are in, by name, with the number of their memories.",
	},
	{
		Name: "get_stats", Operation: "getStats", Title: "Numbers", ReadOnly: true,
		Doc: "Count the memories by state, the apps and the categories.",
	},
	{
		Name: "list_apps", Operation: "listApps", Title: "List apps", ReadOnly: true,
		Doc: "List the apps (agents and clients) that have stored memories, by name, with the number of their memories.",
	},
	{
		Name: "get_app", Operation: "getApp", Title: "Read one app", ReadOnly: true,
		Doc: "Read one app by its id.",
	},
	{
		Name: "whoami", Operation: "mcp:whoami", Title: "Who am I", ReadOnly: true,
		Doc: "Tell for which user of which organisation this connection speaks, under which app name, and what it may do.",
	},
}

// Tools lists all tools.
func Tools() []Tool { return append([]Tool(nil), tools...) }

// ToolByName finds a tool; ok is false for one that is not in the table.
func ToolByName(name string) (t Tool, ok bool) {
	for _, t := range tools {
		if t.Name == name {
			return t, true
		}
	}
	return Tool{}, false
}
