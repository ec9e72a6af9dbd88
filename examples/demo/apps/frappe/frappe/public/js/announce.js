// Lists the apps whose bundle has run, for whoever looks at the page.
export function announce(app, message) {
	const loaded = (window.loaded_apps = window.loaded_apps || {});
	loaded[app] = message;
}
