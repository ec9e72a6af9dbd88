// Builds every *.bundle.{js,css,scss} of the apps into <app>/public/dist, with
// hashed names and source maps, and lists them in assets.json and assets-rtl.json.
const fs = require("fs");
const path = require("path");
const v8 = require("v8");
const esbuild = require("esbuild");
const glob = require("fast-glob");
const autoprefixer = require("autoprefixer");
const rtlcss = require("rtlcss");
const postcss = require("@frappe/esbuild-plugin-postcss2").default;

const bench = path.resolve(__dirname, "../../..");
const sites = path.join(bench, "sites");
const assets = path.join(sites, "assets");
const all_apps = fs
	.readFileSync(path.join(sites, "apps.txt"), "utf-8")
	.split("\n")
	.filter(Boolean);

const production = process.argv.includes("--production");
const apps_at = process.argv.indexOf("--apps");
const apps = apps_at < 0 ? all_apps : process.argv[apps_at + 1].split(",");

// {"<app>/dist/<kind>/<name>": source} for all bundles with one of the extensions.
function entries(kind, extensions) {
	const found = {};
	for (const app of apps) {
		const public_path = path.join(bench, "apps", app, app, "public");
		const files = glob.sync(`**/*.bundle.{${extensions}}`, {
			cwd: public_path,
			ignore: ["dist", "node_modules"],
			followSymbolicLinks: false,
		});
		for (const file of files) {
			const name = path.basename(file, path.extname(file));
			found[path.join(app, "dist", kind, name)] = path.join(public_path, file);
		}
	}
	return found;
}

function build(entryPoints, plugins) {
	return esbuild.build({
		entryPoints,
		entryNames: "[dir]/[name].[hash]",
		outdir: assets,
		bundle: true,
		sourcemap: true,
		metafile: true,
		minify: production,
		target: ["es2017"],
		nodePaths: all_apps.map((app) => path.join(bench, "apps", app, "node_modules")),
		plugins,
	});
}

// Adds the built bundles to one of the lists, and keeps the entries of other apps.
function write_list(name, metafile, prefix = "") {
	const file = path.join(assets, name);
	const list = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf-8")) : {};
	for (const [output, { entryPoint }] of Object.entries(metafile.outputs)) {
		if (entryPoint) {
			list[prefix + path.basename(entryPoint)] = "/" + path.relative(sites, path.resolve(output));
		}
	}
	fs.writeFileSync(file, JSON.stringify(list, null, 4));
	return Object.values(list);
}

async function main() {
	const heap = Math.round(v8.getHeapStatistics().heap_size_limit / 2 ** 20);
	console.log(`esbuild ${esbuild.version}, node ${process.version}, heap limit ${heap} MB`);
	const [js, css, rtl] = await Promise.all([
		build(entries("js", "js,ts"), []),
		build(entries("css", "css,scss"), [postcss({ plugins: [autoprefixer] })]),
		build(entries("css-rtl", "css,scss"), [postcss({ plugins: [rtlcss, autoprefixer] })]),
	]);
	write_list("assets.json", js.metafile);
	const built = write_list("assets.json", css.metafile);
	built.push(...write_list("assets-rtl.json", rtl.metafile, "rtl_"));
	built.forEach((url) => console.log("  " + url));
}

main().catch((error) => {
	console.error(error.message || error);
	process.exit(1);
});
